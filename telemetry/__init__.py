"""Telemetry of every process: traces over OTLP, and log lines as text or JSON."""
