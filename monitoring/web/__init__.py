"""The web interface: the status page, its API, the metrics and the reports."""
