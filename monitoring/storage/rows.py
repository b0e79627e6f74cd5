"""A window's rows: how they are kept and handed out."""

from collections.abc import Collection, Sequence
from math import inf
from typing import Any

import msgspec

from eventlog.events import INFINITIES, Label
from registry.own_columns import LABEL, WITHHELD, own_name

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode
_NUMBERS = frozenset({int, float, bool, type(None)})
_LABELS = frozenset({int, float, bool, str})
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_ONE: tuple[list[int], ...] = ([], [1])  # how the shape of a tensor of one row begins


class StoredRow(msgspec.Struct):
    """One answered row, so that its label finds it."""

    prediction_id: str
    row: int
    model: str
    version: str
    start: int  # start of the pane that contains the row's event time
    number: int | None  # its hash; None: it came late and no window holds it
    body: bytes | None  # its values, if the window's sample keeps them
    label: bytes | None
    time: int | None  # event time
    predicted: bytes | None = None  # the prediction; None: not logged, or in no window


class StoredPrediction(msgspec.Struct):
    """A row that a label found."""

    model: str
    version: str
    start: int  # start of the pane that contains the row's event time
    late: bool  # whether it came late, so that no window holds it
    label: Label | None
    time: int | None  # event time of the prediction, if it was stored
    predicted: bytes | None = None  # the prediction, if it was stored


class SampledRow(msgspec.Struct, frozen=True):
    """A row that a window keeps."""

    body: bytes
    label: bytes | None
    place: tuple[int, str, int]  # sorts rows by event time


class EarlyLabel(msgspec.Struct, frozen=True):
    """A label that came before its prediction."""

    label: bytes
    time: int | None  # event time of the label, if it was stored
    received: int  # when the log received it
    anywhere: bool = False  # it is of version 1, whose labels lie in any partition


def numbers_again(column: list[Any]) -> list[Any]:
    """Return a column of numbers with its infinities as such, for who does not write JSON.

    Integers that 64 bits do not hold come as floats, or as infinities where none holds them.
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
    """Return stored rows as columns; the last one holds the labels (None if none is known).

    Where the payload of some rows was not kept, a column `payload_withheld` marks them; they hold
    None in every column but their summaries. The names of both columns give way to `names`. Of
    these, `only` are returned; None: all.
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
