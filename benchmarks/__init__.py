"""Comparisons and studies: what requests, events and scores cost. Not part of the wheel."""
