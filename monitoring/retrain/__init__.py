"""Retraining: schedules, open requests, and the rows of a request with their validation."""
