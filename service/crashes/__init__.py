"""What killed a worker: runs in flight, recovery at the next start, quarantine of models."""
