"""Everything that decides how long what was monitored is kept lives here.

What results depend on goes by the log and never by a clock, so that whoever reads the log again
lets go of the same at the same place in it: rows by the event time of their version, at the
moments at which its windows expire, labels that wait by the hour in which the log received them.

A row can be found by its label while its window awaits labels, and for `late_days` longer: then its
label is late. After that nobody knows of the row any more, whether its window sampled it or not,
and its label is one that waits for a prediction.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from monitoring.windows.grid import SECOND
from monitoring.windows.window_state import VersionProgress

HOUR = 3_600 * SECOND
DAY = 24 * HOUR

Days = Annotated[float, Meta(ge=0, le=36_500)]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """For how many days, or up to how many, the monitor keeps what it no longer needs itself."""

    # Rows, after their window awaits labels no more: so long their labels are known to be late.
    late_days: Days = 7.0
    samples_days: Days = 90.0  # a window's sampled rows, after it awaits labels no more
    results_days: Days = 730.0  # results, up to the window that was concluded last
    early_labels_days: Days = 30.0  # labels, since their reception, that wait for their prediction
    minutes_days: Days = 90.0  # counts by the minute of reception, for `driftline ledger`
    webhooks_days: Days = 90.0  # webhooks delivered or given up, since they were asked for
    reports_days: Days = 90.0  # Evidently's reports, since they were written
    dead_letters: Annotated[int, Meta(ge=0)] = 100_000  # the newest


def advance(watch: VersionProgress, kept: Retention, expired: int, ended: int) -> None:
    """Move a version's horizons: every window that ends by `expired` awaits no labels any more.

    `ended` is the event time that the watermark has passed by the wait for labels. No horizon
    passes `expired`, behind which rows are still awaited by their windows.
    """
    late = int(kept.late_days * DAY)
    samples = max(late, int(kept.samples_days * DAY))  # else their labels would be late no more
    watch.rows_until = max(watch.rows_until, min(expired, ended - late))
    watch.samples_until = max(watch.samples_until, min(expired, ended - samples))
    # A trailing reference reaches no further back than samples are kept.
    watch.recent = [start for start in watch.recent if start >= watch.samples_until]


def hour(received: int, days: float) -> int:
    """What was received before this hour has been kept for so many days, now that this comes."""
    return (received - int(days * DAY)) // HOUR * HOUR
