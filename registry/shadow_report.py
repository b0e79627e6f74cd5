"""The report of the process that runs shadows: a file in the home that it replaces regularly."""

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from eventlog.durable_files import replace_file
from eventlog.log import Position
from eventlog.settings import Home

SkipReason = Literal["late", "payload", "features", "log full", "failed"]


class ShadowCounts(msgspec.Struct, omit_defaults=True):
    """The counts of one shadow since its start."""

    model: str
    number: str
    events: int = 0  # requests on which the shadow ran
    rows: int = 0  # rows on which the shadow ran
    agreed: int = 0  # rows with the same prediction as the answer; only for classifications
    failed: int = 0  # rows on which the model failed
    skipped: dict[SkipReason, int] = {}  # reason -> requests of its share that were skipped
    run_us: int = 0  # total time of runs in microseconds
    note: str = ""  # reason why the shadow does not run, or ""

    def skip(self, reason: SkipReason, requests: int = 1) -> None:
        """Count requests that the shadow skips."""
        if requests:
            self.skipped[reason] = self.skipped.get(reason, 0) + requests


class ShadowReport(msgspec.Struct, omit_defaults=True):
    """The state of the process: its positions in the log, and the counts of each shadow."""

    updated: int = 0  # time of the report in microseconds since the epoch
    lag_s: float = 0.0  # age of the last request that was read, in seconds
    positions: dict[str, Position] = {}  # stream -> position
    shadows: dict[str, ShadowCounts] = {}  # id of the shadow -> counts

    def stale_s(self, clock: Callable[[], int] = time.time_ns) -> float:
        """Return the age of the report in seconds."""
        return max(0.0, clock() / 1e9 - self.updated / 1e6)


def read_report(home: Home) -> ShadowReport | None:
    """Return the last report, or None if there is none or another release wrote it."""
    try:
        return msgspec.json.decode(home.shadows.read_bytes(), type=ShadowReport)
    except (OSError, msgspec.DecodeError):
        return None


def write_report(home: Home, report: ShadowReport) -> None:
    """Replace the report; raises OSError."""
    replace_file(home.shadows, msgspec.json.encode(report))
