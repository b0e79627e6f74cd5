"""The partitions of a shared log: each is ingested by the monitor that holds it."""
