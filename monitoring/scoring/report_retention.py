"""Deletes Evidently's reports that were kept for long enough: they are 4 to 5 MB each.

By their files' age: results do not depend on whether their report is still there.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_EVERY = 3_600.0  # seconds between two looks through the folder
_DAY = 86_400.0


class OldReports:
    """Who writes reports calls it after each."""

    def __init__(self, folder: Path, days: float, clock: Callable[[], float] = time.time) -> None:
        """Reports in `folder` are kept for so many days; `clock` gives seconds since the epoch."""
        self._folder = folder
        self._days = days
        self._clock = clock
        self._due = 0.0

    def delete_now_and_then(self) -> None:
        """Look through the folder, if that was not done a moment ago."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + _EVERY
        for report in self._folder.glob("*.html"):
            with suppress(OSError):  # gone already, or not ours: the next look tries again
                if report.stat().st_mtime < now - self._days * _DAY:
                    report.unlink()
