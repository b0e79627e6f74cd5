"""Deletion of expired Evidently reports, which have 4 to 5 MB each.

A report's age is the age of its file. Results do not depend on the existence of their report.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from telemetry.steady_clock import SteadyClock

_EVERY = 3_600.0  # seconds between two scans of the folder
_DAY = 86_400.0


class ReportRetention:
    """Deletes the expired reports of one folder."""

    def __init__(self, folder: Path, days: float, clock: Callable[[], float] | None = None) -> None:
        """Retain reports for `days` days; `clock` returns seconds since the Unix epoch."""
        steady = SteadyClock()
        self._folder = folder
        self._days = days
        self._clock = clock or (lambda: steady() / 1e6)
        self._due = 0.0

    def delete_expired(self) -> None:
        """Delete expired reports; the folder is scanned at most once an hour."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + _EVERY
        for report in self._folder.glob("*.html"):
            with suppress(OSError):  # the file may be gone or protected; the next scan retries
                if report.stat().st_mtime < now - self._days * _DAY:
                    report.unlink()
