"""Predict the rows of files: chunks, checkpoints, rejects, and one event for each chunk."""
