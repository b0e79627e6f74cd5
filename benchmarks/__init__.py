"""Benchmarks of requests, events and scoring, and comparisons with other servers."""
