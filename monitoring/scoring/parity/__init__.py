"""Logged rows are re-run through their version: parity and the effect of drift."""
