"""Counts of the rows of files, by model version and day: a segment of traffic of its own. Pure."""

from collections import Counter

import msgspec

from eventlog.events import PredictionEvent
from telemetry.clock import DAY


class BatchDay(msgspec.Struct, frozen=True):
    """The counts of one version's batch jobs on one day (UTC, by their own clock)."""

    events: int = 0  # chunks
    failed: int = 0  # chunks without an answered row
    rows: int = 0  # answered
    counted: int = 0  # rows whose values were counted
    counts: dict[str, dict[str, int]] = {}  # column -> missing, outside, or class -> rows


def unusual_share(day: BatchDay) -> float | None:
    """Return the largest share of the rows that lie outside the reference in one column.

    None: no value was counted.
    """
    if not day.counted:
        return None
    outside = (column.get("outside", 0) for column in day.counts.values())
    return max(outside, default=0) / day.counted


def day_of(event: PredictionEvent) -> int:
    """Return the start of the day of an event, in microseconds since the epoch."""
    return event.received // DAY * DAY


def include(day: BatchDay, event: PredictionEvent) -> BatchDay:
    """Add the event of a chunk."""
    answered = event.outcome == "ok"
    chunk = BatchDay(
        events=1,
        failed=0 if answered else 1,
        rows=event.rows if answered else 0,
        counted=event.rows if answered and event.counts else 0,
        counts=event.counts if answered else {},
    )
    return merge(day, chunk)


def merge(day: BatchDay, other: BatchDay) -> BatchDay:
    """Add two counts; the order does not matter."""
    counts = {name: dict(counts) for name, counts in day.counts.items()}
    for name, rows_by_value in other.counts.items():
        both = Counter(counts.get(name, {}))
        both.update(rows_by_value)
        counts[name] = dict(sorted(both.items()))
    return BatchDay(
        day.events + other.events,
        day.failed + other.failed,
        day.rows + other.rows,
        day.counted + other.counted,
        dict(sorted(counts.items())),
    )
