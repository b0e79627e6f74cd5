"""Leasing of rows to the people who label them, and the log of their decisions."""
