"""Scales and ticks of axes. Pure."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec

from monitoring.presenter.formats import local
from telemetry.clock import DAY

LARGEST = 1e30  # larger values are not drawn
SMALLEST = 1e-12  # bounds below it are treated as 0


class Scale(msgspec.Struct, frozen=True):
    """Maps the values `[low, high]` to the pixels `[start, end]`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; values outside the range are drawn at the edge."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


class Tick(msgspec.Struct, frozen=True):
    """A label on the time axis."""

    index: int  # index of the slot
    text: str


def finite(values: Sequence[float | None]) -> list[float]:
    """Return the values that can be drawn: no None, NaN or very large numbers."""
    return [value for value in values if value is not None and abs(value) <= LARGEST]


def nice_step(span: float, count: int) -> float:
    """Return 1, 2 or 5 times a power of ten, which divides `span` into about `count` steps."""
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next((f * power for f in (1.0, 2.0, 5.0) if f * power >= raw * 0.999), 10.0 * power)


def domain(values: Sequence[float], count: int = 4) -> tuple[float, float, float]:
    """Return round, unequal bounds around all values, and the step between ticks."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low, high = (0.0 if abs(bound) < SMALLEST else bound for bound in (low, high))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    step = nice_step(high - low, count)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step


def ticks(low: float, high: float, step: float) -> list[float]:
    """Return the round numbers from `low` to `high`."""
    count = round((high - low) / step)
    return [low + index * step for index in range(min(count, 50) + 1)]


def time_ticks(starts: Sequence[int], room: int) -> list[Tick]:
    """Return at most `room` labels for windows that begin at `starts`.

    Labels are at the first window of an hour, day, month, quarter or year, whichever fits.
    """
    moments = [local(start) for start in starts]
    short = len(starts) > 1 and min(b - a for a, b in pairwise(starts)) < DAY
    spacing = len(starts) / max(room, 1)
    for unit, write in _UNITS if short else _UNITS[1:]:
        breaks = _breaks(moments, unit, spacing)
        if len(breaks) <= room:
            return [
                Tick(index, write(moments[index], order == 0)) for order, index in enumerate(breaks)
            ]
    every = math.ceil(spacing)
    return [Tick(index, str(moments[index].year)) for index in range(0, len(starts), every)]


def _breaks(
    moments: Sequence[datetime], unit: Callable[[datetime], object], spacing: float
) -> list[int]:
    """Return the indexes at which a calendar unit begins; labels need `spacing` slots."""
    keys = [unit(moment) for moment in moments]
    starts = [index for index in range(len(keys)) if index == 0 or keys[index] != keys[index - 1]]
    # The first window rarely begins a calendar unit: omit its label if it would overlap the next.
    return starts[1:] if len(starts) > 1 and starts[1] - starts[0] < spacing else starts


def _hour(at: datetime, first: bool) -> str:  # noqa: FBT001 - called through _UNITS
    return f"{at.day} {at:%b}" if first or at.hour == 0 else f"{at:%H:%M}"


def _day(at: datetime, _first: bool) -> str:  # noqa: FBT001
    return f"{at.day} {at:%b}"


def _month(at: datetime, first: bool) -> str:  # noqa: FBT001
    return f"{at:%b} {at.year}" if first or at.month == 1 else f"{at:%b}"


_UNITS: list[tuple[Callable[[datetime], object], Callable[[datetime, bool], str]]] = [
    (lambda at: at, _hour),
    (lambda at: at.date(), _day),
    (lambda at: (at.year, at.month), _month),
    (lambda at: (at.year, (at.month - 1) // 3), _month),
    (lambda at: at.year, lambda at, _first: str(at.year)),
]
