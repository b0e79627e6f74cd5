"""Scores of a window's segments, and of the fairness gaps between segments."""
