"""Benchmarks of requests, events and scoring, and a comparison with other servers; not part of the wheel."""
