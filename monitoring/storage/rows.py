"""Types of stored rows and labels, and the conversion of rows into columns."""

from collections.abc import Collection, Sequence
from math import inf
from typing import Any

import msgspec

from eventlog.events import INFINITIES, Label
from registry.own_columns import LABEL, WITHHELD, own_name

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1  # range of 64-bit integers


class StoredRow(msgspec.Struct):
    """One predicted row, stored so that its label can be joined to it."""

    prediction_id: str
    row: int  # index in the request
    model: str
    version: str
    start: int  # start of the pane that contains the row's event time
    number: int | None  # the row's hash; None if it came late and belongs to no window
    body: bytes | None  # the row's values; None if it is not sampled
    label: bytes | None
    time: int | None  # event time, in microseconds since the epoch
    predicted: bytes | None = None  # the prediction; None if it was not logged or came late


class StoredPrediction(msgspec.Struct):
    """A stored row, as needed for joining its label; without its values."""

    model: str
    version: str
    start: int  # start of the pane that contains the row's event time
    late: bool  # whether the row came late and belongs to no window
    label: Label | None
    time: int | None  # event time of the prediction, if it was stored
    predicted: bytes | None = None  # the prediction, if it was stored


class SampledRow(msgspec.Struct, frozen=True):
    """A row of a window's sample."""

    body: bytes
    label: bytes | None
    place: tuple[int, str, int]  # event time, prediction id, row; sorts rows by event time


class EarlyLabel(msgspec.Struct, frozen=True):
    """A label that came before its prediction."""

    label: bytes
    time: int | None  # event time of the label, if it was stored
    received: int  # reception time of the label
    anywhere: bool = False  # whether any partition can own the label: ids of format 1 lack a shard


def as_numbers(column: list[Any]) -> list[Any]:
    """Return a column with infinities as floats, not as the words that JSON needs.

    Integers beyond 64 bits become floats, or infinities if they are too large for a float.
    """
    if any(type(value) is int and not _SMALLEST <= value <= _LARGEST for value in column):
        column = [_float(value) if type(value) is int else value for value in column]
    words = [value for value in column if isinstance(value, str)]
    if not words or not {*words} <= {*INFINITIES}:
        return column
    return [INFINITIES[value] if isinstance(value, str) else value for value in column]


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return inf if number > 0 else -inf


def by_column(
    names: Sequence[str],
    bodies: Sequence[bytes],
    labels: Sequence[bytes | None],
    only: Collection[str] | None = None,
) -> dict[str, list[Any]]:
    """Return stored rows as columns; the last column contains the labels (None if unlabelled).

    If the payload of some rows was not stored, a column `payload_withheld` marks these rows, and
    all their values except summaries are None. The two added columns get other names if a feature
    has the same name. `only` limits the returned columns of `names`.
    """
    rows = [decode(body) for body in bodies]
    withheld = [isinstance(row, dict) for row in rows]
    if any(withheld):
        rows = [[row.get(n) for n in names] if isinstance(row, dict) else row for row in rows]
    table = {
        name: [row[place] for row in rows]
        for place, name in enumerate(names)
        if only is None or name in only
    }
    if any(withheld):
        table[own_name(WITHHELD, names)] = withheld
    table[own_name(LABEL, names)] = [None if label is None else decode(label) for label in labels]
    return table
