"""Baselines of versions without a registered reference, as rows of the registry's history.

The monitor records the baseline that it learned from the first windows of production; this row is
only information for people. A person can choose another period as the baseline. That row applies to
windows that begin later.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from registry.history.rows import HistoryRow


class BaselineRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The production rows that a version's windows are compared with."""

    origin: Literal["learned", "chosen"]
    digest: str  # SHA-256 of the baseline's Parquet file, in hex
    start: int  # event times of the rows are in [start, end), in microseconds
    end: int
    rows: int
    windows: list[int] = []  # starts of the windows from which the baseline was learned
    why: str = ""  # reason for a chosen baseline


class RecordedBaseline(msgspec.Struct, frozen=True):
    """A baseline, and the row of the history that records it."""

    row: HistoryRow
    record: BaselineRecord


def baselines_of(number: str, history: Iterable[HistoryRow]) -> list[RecordedBaseline]:
    """Return a version's baselines, oldest first, from its model's history."""
    rows = (row for row in history if row.kind == "baseline" and row.number == number)
    return [
        RecordedBaseline(row, msgspec.json.decode(row.detail, type=BaselineRecord)) for row in rows
    ]


def encode_baseline(record: BaselineRecord) -> str:
    """Encode a record for the history."""
    return msgspec.json.encode(record).decode()
