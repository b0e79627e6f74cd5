"""Detect drift of columns, and of the window as a whole, against the reference."""
