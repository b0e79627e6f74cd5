"""Measure performance from labels, and estimate it without them."""
