"""Determine when monitored data expires. Pure.

Rows and early labels (labels without a prediction) affect results, so they expire by times in the
log and never by a clock. A replay expires them at the same positions of the log. Rows expire by
event time, when a window of their version expires. Early labels expire by the hour of their
reception.

A label joins its row while the row's window awaits labels. It counts as late for `late_days` after
that. Then the row has expired, even if it is in a sample, and a further label counts as early.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from monitoring.windows.watermark import VersionProgress
from telemetry.clock import DAY, HOUR

Days = Annotated[float, Meta(ge=0, le=36_500)]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Days, or number of items, for which the monitor retains data."""

    # Rows, after their window's wait for labels has ended; their labels then count as late.
    late_days: Days = 7.0
    samples_days: Days = 90.0  # a window's sampled rows, after its wait for labels has ended
    results_days: Days = 730.0  # results, counted back from the newest evaluated window
    early_labels_days: Days = 30.0  # labels without a prediction, since their reception
    minutes_days: Days = 90.0  # event counts by minute of reception, for `driftline ledger`
    webhooks_days: Days = 90.0  # delivered or dead webhooks, since they were requested
    reports_days: Days = 90.0  # Evidently's reports, since they were written
    dead_letters: Annotated[int, Meta(ge=0)] = 100_000  # number of newest dead letters


def samples_us(limits: Retention) -> int:
    """Return for how many microseconds of event time a window's sampled rows are retained.

    This is at least the time in which labels count as late, because such a label needs its row.
    """
    return int(max(limits.late_days, limits.samples_days) * DAY)


def advance(progress: VersionProgress, limits: Retention, expired: int, ended: int) -> None:
    """Advance the horizons before which a version's rows and samples have expired.

    Every window that ends by `expired` has expired; no horizon passes `expired`, because later
    windows still await labels. `ended` is the watermark minus the wait for labels.
    """
    late = int(limits.late_days * DAY)
    samples = samples_us(limits)
    progress.rows_until = max(progress.rows_until, min(expired, ended - late))
    progress.samples_until = max(progress.samples_until, min(expired, ended - samples))
    # Windows whose samples have expired leave the trailing reference ...
    progress.recent = [start for start in progress.recent if start >= progress.samples_until]
    # ... and the baseline that is being learned.
    progress.learning = [
        window for window in progress.learning if window.start >= progress.samples_until
    ]


def hour(received: int, days: float) -> int:
    """Return the start of the hour that is `days` before the reception `received`."""
    return (received - int(days * DAY)) // HOUR * HOUR
