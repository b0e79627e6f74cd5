"""Benchmarks of requests, events and scores, and of other servers; not part of the wheel."""
