"""Scores per group of rows: segments and fairness."""
