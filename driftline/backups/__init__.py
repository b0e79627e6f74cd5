"""Copies of an installation: taken while it runs, verified, and restored elsewhere."""
