"""Drift of columns and of the whole window against the reference."""
