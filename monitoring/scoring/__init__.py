"""Scoring of closed windows against the reference, in separate processes."""
