"""Several monitors on one log: each partition of the log is ingested by one monitor at a time."""
