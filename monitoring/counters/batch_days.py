"""Count the rows of batch jobs by model version and day, apart from online requests. Pure."""

from collections import Counter

import msgspec

from eventlog.events import PredictionEvent
from telemetry.clock import DAY


class BatchDay(msgspec.Struct, frozen=True):
    """The counts of one version's batch jobs on one day (UTC, by the clock of the jobs)."""

    events: int = 0  # chunks of rows; each is one event
    failed: int = 0  # chunks whose predictions failed
    rows: int = 0  # predicted rows
    counted: int = 0  # predicted rows whose values were compared with the reference
    counts: dict[str, dict[str, int]] = {}  # column: {"missing", "outside" or a class: rows}


def unusual_share(day: BatchDay) -> float | None:
    """Return the share of rows outside the reference, for the column with the largest share.

    Return None if no value was compared.
    """
    if not day.counted:
        return None
    outside = (column.get("outside", 0) for column in day.counts.values())
    return max(outside, default=0) / day.counted


def day_of(event: PredictionEvent) -> int:
    """Return the start of an event's day (UTC), in microseconds since the epoch."""
    return event.received // DAY * DAY


def include(day: BatchDay, event: PredictionEvent) -> BatchDay:
    """Return the counts with a chunk's event added."""
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
    """Return the sum of two days' counts; the order does not matter."""
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
