"""The ingestion step: turn records of the event log into counters, rows and labels."""
