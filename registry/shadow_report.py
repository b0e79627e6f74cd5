"""The report of the process that runs shadows: a file of the home, replaced while it runs."""

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from eventlog.durable_files import replace_file
from eventlog.log import Position
from eventlog.settings import Home

SkipReason = Literal["late", "payload", "features", "log full", "failed"]


class ShadowCounts(msgspec.Struct, omit_defaults=True):
    """The counts of one shadow since it began."""

    model: str
    number: str
    events: int = 0  # requests that it ran on
    rows: int = 0
    agreed: int = 0  # rows with the answer that was given; of classifications
    failed: int = 0  # rows that the model fails on
    skipped: dict[SkipReason, int] = {}  # requests of its share that it did not run on
    run_us: int = 0  # total microseconds of runs
    note: str = ""  # why it does not run

    def skip(self, reason: SkipReason, requests: int = 1) -> None:
        """Count requests that it does not run on."""
        if requests:
            self.skipped[reason] = self.skipped.get(reason, 0) + requests


class ShadowReport(msgspec.Struct, omit_defaults=True):
    """The state of the process: what it has read, and the counts of each shadow."""

    updated: int = 0  # microseconds since the epoch
    lag_s: float = 0.0  # how long ago the last request that was read was received
    positions: dict[str, Position] = {}  # keyed by stream
    shadows: dict[str, ShadowCounts] = {}  # keyed by id

    def stale_s(self, clock: Callable[[], int] = time.time_ns) -> float:
        """Return the seconds since the report was written."""
        return max(0.0, clock() / 1e9 - self.updated / 1e6)


def read_report(home: Home) -> ShadowReport | None:
    """Return the last report; None if no process has run, or for a file of another release."""
    try:
        return msgspec.json.decode(home.shadows.read_bytes(), type=ShadowReport)
    except (OSError, msgspec.DecodeError):
        return None


def write_report(home: Home, report: ShadowReport) -> None:
    """Replace the report; raises OSError."""
    replace_file(home.shadows, msgspec.json.encode(report))
