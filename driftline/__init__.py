"""Driftline's public face: the client and the `driftline` command."""
