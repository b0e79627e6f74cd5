"""Retraining: schedules, open requests, and the validated training rows of a request."""
