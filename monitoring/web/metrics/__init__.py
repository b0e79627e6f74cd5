"""The monitor's Prometheus metrics."""
