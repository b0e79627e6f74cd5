"""Format dates and numbers for people. Pure.

Times are integer microseconds since the epoch. Every date is in UTC, unless a page is read in
another zone: it sets `ZONE` for its request.
"""

import math
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from struct import pack, unpack

from monitoring.results import Window

NOTHING = "–"
ZONE: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_DAYS = (86_400.0, "days")
_UNITS = (  # seconds in one, its name, and from where on the next suits better
    (1e-6, "µs", 1e-3),
    (1e-3, "ms", 1.0),
    (1.0, "s", 120.0),
    (60.0, "min", 7_200.0),
    (3_600.0, "h", 172_800.0),
)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_DIGITS_OF_FP32 = 9  # no two of its numbers have the same nine digits


def utc(time: int) -> datetime:
    """Return the moment, or the nearest one in the calendar: clients may state odd event times."""
    try:
        return _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        return _LAST if time > 0 else _FIRST


def local(time: int) -> datetime:
    """The moment in the zone of the reader."""
    at = utc(time)
    try:
        return at.astimezone(ZONE.get())
    except OverflowError:  # at the ends of the calendar
        return at


def period(window: Window) -> str:
    """Format a window for people: "7–14 Jul 2013", "7 Jul 2013, 14:00–15:00"."""
    first, end = local(window.start), local(window.end)
    if not (_midnight(first) and _midnight(end) and end > first):
        if first.date() == end.date():
            return f"{_day(first)} {first.year}, {first:%H:%M}–{end:%H:%M}"
        return f"{_day(first)} {first.year}, {first:%H:%M} – {_day(end)} {end.year}, {end:%H:%M}"
    last = end - timedelta(days=1)
    if first.year != last.year:
        return f"{_day(first)} {first.year} – {_day(last)} {last.year}"
    if first.month != last.month:
        return f"{_day(first)} – {_day(last)} {last.year}"
    if first.day != last.day:
        return f"{first.day}–{_day(last)} {last.year}"
    return f"{_day(first)} {first.year}"


def day(time: int) -> str:
    """Return the day alone: "7 Jul 2013"."""
    at = local(time)
    return f"{_day(at)} {at.year}"


def iso_day(time: int) -> str:
    """The day in UTC as forms state it: "2013-07-07"."""
    return f"{utc(time):%Y-%m-%d}"


def moment(time: int) -> str:
    """Return a moment to the minute: "7 Jul 2013, 14:03 UTC"."""
    return f"{day(time)}, {local(time):%H:%M %Z}"


def number(count: int | None) -> str:
    """Format a count with thousands separators: "6,412"."""
    return NOTHING if count is None else f"{count:,}"


def figure(value: float | None) -> str:
    """Return a score or a statistic, short and never rounded to a false zero: "0.451", "<0.001"."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value != 0 and abs(value) < 0.001:
        return "<0.001" if value > 0 else ">-0.001"
    if abs(value) >= 1_000_000:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def shortest(value: object) -> object:
    """Return a logged value in its shortest form: 0.1, and not the 17 digits of its FP32 number."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    for digits in range(1, _DIGITS_OF_FP32 + 1):
        short = float(f"{value:.{digits}g}")
        if short == value or _as_fp32(short) == value:
            return short
    return value


def _as_fp32(value: float) -> float | None:
    try:
        (single,) = unpack("<f", pack("<f", value))
    except OverflowError:
        return None
    return float(single)


def apart(value: float, limit: float) -> tuple[str, str]:
    """Format a value and its limit with enough digits to differ, at most nine.

    A value that rounds to its limit even then is "just above" or "just below" it.
    """
    return _apart(value, limit, figure, lambda amount, digits: f"{amount:.{digits}g}")


def percents_apart(share: float, limit: float) -> tuple[str, str]:
    """Format two shares with enough digits to differ: "33.4%", "33.3%"."""
    return _apart(share, limit, percent, lambda amount, digits: f"{100 * amount:.{digits}g}%")


def _apart(
    value: float,
    limit: float,
    short: Callable[[float], str],
    exact: Callable[[float, int], str],
) -> tuple[str, str]:
    texts = short(value), short(limit)
    for digits in range(4, 10):
        if value == limit or texts[0] != texts[1]:
            break
        texts = exact(value, digits), exact(limit, digits)
    if value != limit and texts[0] == texts[1]:
        return f"just {'above' if value > limit else 'below'} {texts[1]}", texts[1]
    return texts


def percent(share: float | None) -> str:
    """Return a share of one; only nothing is 0% and only everything is 100%."""
    if share is None or not math.isfinite(share):
        return NOTHING
    if 0 < share < 0.01:
        return "<1%"
    if 0.99 < share < 1:
        return ">99%"
    text = f"{share:.0%}"
    return "0%" if text == "-0%" else text  # a probability of float32 can be -1e-7


def duration(seconds: float | None) -> str:
    """Return a duration in the unit that suits it: "4.2 ms", "25 s", "3.5 h", "12 days"."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    size, unit = next(((size, unit) for size, unit, end in _UNITS if seconds < end), _DAYS)
    amount = seconds / size
    return f"{amount:.2g} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"


def several(count: int, noun: str) -> str:
    """ "1 alarm", "2 alarms"."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}"


def _midnight(at: datetime) -> bool:
    return (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
