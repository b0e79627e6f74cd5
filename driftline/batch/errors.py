"""Errors that end a batch job."""

from eventlog.errors import DriftlineError


class BatchError(DriftlineError):
    """A batch job cannot run; the message says what to change."""
