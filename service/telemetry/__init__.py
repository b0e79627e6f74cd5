"""Metrics, statistics and traces of the service."""
