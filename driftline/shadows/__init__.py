"""Run shadow versions on logged requests, in a process separate from the service."""
