"""Describe a day's batch jobs and the columns with missing or out-of-range values. Pure."""

from collections.abc import Mapping

import msgspec

from monitoring.counters.batch_days import BatchDay
from monitoring.presenter.formats import percent

_SHOWN = 3  # maximum columns or classes in one text
_KINDS = ("missing", "outside")


class BatchRow(msgspec.Struct, frozen=True):
    """One day of batch jobs, as a row of a table."""

    start: int  # microseconds since the Unix epoch
    rows: int
    failed: int  # number of chunks without an answered row
    missing: str  # columns with the largest shares of missing values
    outside: str  # columns with the largest shares of values outside the reference
    predicted: str  # most frequent predicted classes


def batch_rows(days: Mapping[int, BatchDay]) -> list[BatchRow]:
    """Return a table row for each day; the keys of `days` are the days' starts."""
    return [
        BatchRow(
            start,
            day.rows,
            day.failed,
            _largest_shares(day, "missing"),
            _largest_shares(day, "outside"),
            _predicted_classes(day),
        )
        for start, day in days.items()
    ]


def _largest_shares(day: BatchDay, kind: str) -> str:
    ranking = [
        (counts[kind], name) for name, counts in day.counts.items() if _has_kind(counts, kind)
    ]
    ranking.sort(key=lambda pair: (-pair[0], pair[1]))
    parts = [f"{name} {percent(count / day.counted)}" for count, name in ranking[:_SHOWN]]
    return ", ".join([*parts, *(["..."] if len(ranking) > _SHOWN else [])]) or "none"


def _predicted_classes(day: BatchDay) -> str:
    classes = [counts for counts in day.counts.values() if not set(counts) <= {*_KINDS}]
    if not classes or not day.counted:
        return "not counted"
    ranking = sorted(classes[-1].items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {percent(count / day.counted)}" for name, count in ranking[:_SHOWN])


def _has_kind(counts: Mapping[str, int], kind: str) -> bool:
    return kind in counts and set(counts) <= {*_KINDS}
