"""Decisions about alarms and retraining requests, derived from windows' results. Pure functions."""
