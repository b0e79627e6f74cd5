"""Sentences about results and alarms, the same for the status page, terminal and webhooks."""
