"""The consumer of the event log: windows, labels, scores, alarms, webhooks and the status page."""
