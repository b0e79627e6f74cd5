"""Counters over a window's rows: exact, mergeable, independent of row order."""
