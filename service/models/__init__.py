"""Registered versions in this worker: loading, routing, sessions, limits."""
