"""Telemetry of every process: traces by OTLP, log lines as text or JSON."""
