"""The monitor's storage: one database, one transaction per step."""
