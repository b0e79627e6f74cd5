"""Decide how long monitored data is kept. Pure.

What results depend on expires by the log and never by a clock, so a replay expires the same at the
same place in the log: rows by the event time of their version, whenever its windows expire; early
labels by the hour in which the log received them.

A row can be found by its label while its window awaits labels, and for `late_days` longer; in that
time its label counts as late. After that the row is unknown, whether its window sampled it or not,
and its label is an early one.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from monitoring.windows.watermark import VersionProgress
from telemetry.clock import DAY, HOUR

Days = Annotated[float, Meta(ge=0, le=36_500)]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """For how many days, or up to how many items, the monitor keeps what it no longer needs."""

    # Rows, after their window awaits labels no more: so long their labels are known to be late.
    late_days: Days = 7.0
    samples_days: Days = 90.0  # a window's sampled rows, after it awaits labels no more
    results_days: Days = 730.0  # results, before the window that was evaluated last
    early_labels_days: Days = 30.0  # labels without a prediction, since their reception
    minutes_days: Days = 90.0  # counts by the minute of reception, for `driftline ledger`
    webhooks_days: Days = 90.0  # webhooks delivered or given up, since they were requested
    reports_days: Days = 90.0  # Evidently's reports, since they were written
    dead_letters: Annotated[int, Meta(ge=0)] = 100_000  # the newest


def samples_us(limits: Retention) -> int:
    """Return for how many microseconds of event time a window's sampled rows are kept.

    A label of a sampled row counts as late, so they are kept as long as late rows at least.
    """
    return int(max(limits.late_days, limits.samples_days) * DAY)


def advance(progress: VersionProgress, limits: Retention, expired: int, ended: int) -> None:
    """Move a version's horizons: every window that ends by `expired` awaits no label any more.

    `ended` is the event time that the watermark has passed by the wait for labels. No horizon
    passes `expired`, behind which windows still await labels of their rows.
    """
    late = int(limits.late_days * DAY)
    samples = samples_us(limits)
    progress.rows_until = max(progress.rows_until, min(expired, ended - late))
    progress.samples_until = max(progress.samples_until, min(expired, ended - samples))
    # A trailing reference reaches no further back than samples are kept.
    progress.recent = [start for start in progress.recent if start >= progress.samples_until]
    # Nor does a baseline that is being learned.
    progress.learning = [
        window for window in progress.learning if window.start >= progress.samples_until
    ]


def hour(received: int, days: float) -> int:
    """Return the hour before which receptions are older than `days`, as of `received`."""
    return (received - int(days * DAY)) // HOUR * HOUR
