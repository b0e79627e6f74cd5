"""Merge requests into batches without adding delay."""
