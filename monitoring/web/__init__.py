"""The monitor's web interface: pages, API, metrics and Evidently reports."""
