"""What the monitor remembers: one database, one transaction per step."""
