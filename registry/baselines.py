"""Baselines of versions without a registered reference: rows of the registry's history.

The monitor records the baseline that it learned from the first windows of production; that row is
for people. A person may choose another period: such a row holds for windows that begin later.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from registry.history.rows import HistoryRow


class BaselineRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rows of production that a version's windows are compared with."""

    origin: Literal["learned", "chosen"]
    digest: str  # SHA-256 of its Parquet file, in hex
    start: int  # the rows lie in [start, end) of event time, in microseconds
    end: int
    rows: int
    windows: list[int] = []  # starts of those that it was learned from
    why: str = ""  # reason for a chosen baseline


class RecordedBaseline(msgspec.Struct, frozen=True):
    """A baseline and the row that records it."""

    row: HistoryRow
    record: BaselineRecord


def baselines_of(number: str, history: Iterable[HistoryRow]) -> list[RecordedBaseline]:
    """Return the recorded baselines of a version, oldest first, from its model's history."""
    rows = (row for row in history if row.kind == "baseline" and row.number == number)
    return [
        RecordedBaseline(row, msgspec.json.decode(row.detail, type=BaselineRecord)) for row in rows
    ]


def encode_baseline(record: BaselineRecord) -> str:
    """Encode a record for the history."""
    return msgspec.json.encode(record).decode()
