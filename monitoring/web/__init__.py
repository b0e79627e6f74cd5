"""What a person sees: the status page, its API, the metrics and the reports."""
