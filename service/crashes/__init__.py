"""Crashes of workers: runs in flight, recovery at the next start, quarantine of versions."""
