"""Decisions about alarms and retrain requests, derived from windows' results. Pure functions."""
