"""Statements on the monitor's database; written by monitoring.storage.sql_writer."""

# fmt: off

REVISION = '0010'
VERSION_TABLE = 'monitor_revision'
