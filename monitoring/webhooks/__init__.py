"""Telling the training pipeline: bodies, signatures, where we may send to, and sending."""
