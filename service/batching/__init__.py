"""Merging requests into batches without adding delay."""
