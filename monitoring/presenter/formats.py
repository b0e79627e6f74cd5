"""Format dates and numbers for people. Pure.

Times are integer microseconds since the Unix epoch. Dates are in UTC, unless the status page sets
`ZONE` to its reader's time zone while it handles a request.
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
_UNITS = (  # length of the unit, its name, and its exclusive upper bound; lengths in seconds
    (1e-6, "µs", 1e-3),
    (1e-3, "ms", 1.0),
    (1.0, "s", 120.0),
    (60.0, "min", 7_200.0),
    (3_600.0, "h", 172_800.0),
)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_DIGITS_OF_FP32 = 9  # nine significant digits distinguish all FP32 numbers


def utc(time: int) -> datetime:
    """Return the time as a datetime in UTC, limited to the years 1 to 9999.

    Clients can state event times outside this range.
    """
    try:
        return _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        return _LAST if time > 0 else _FIRST


def local(time: int) -> datetime:
    """Return the time as a datetime in the reader's time zone."""
    at = utc(time)
    try:
        return at.astimezone(ZONE.get())
    except OverflowError:  # the offset leads outside the years 1 to 9999
        return at


def period(window: Window) -> str:
    """Format a window: "7–14 Jul 2013", "7 Jul 2013, 14:00–15:00"."""
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
    """Format the day of a time: "7 Jul 2013"."""
    at = local(time)
    return f"{_day(at)} {at.year}"


def iso_day(time: int) -> str:
    """Format the UTC day of a time for a date field: "2013-07-07"."""
    return f"{utc(time):%Y-%m-%d}"


def moment(time: int) -> str:
    """Format a time to the minute: "7 Jul 2013, 14:03 UTC"."""
    return f"{day(time)}, {local(time):%H:%M %Z}"


def number(count: int | None) -> str:
    """Format a count with thousands separators: "6,412"."""
    return NOTHING if count is None else f"{count:,}"


def figure(value: float | None) -> str:
    """Format a score or statistic; small values are not rounded to zero: "0.451", "<0.001"."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value != 0 and abs(value) < 0.001:
        return "<0.001" if value > 0 else ">-0.001"
    if abs(value) >= 1_000_000:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def shortest(value: object) -> object:
    """Return the shortest number that has the same FP32 value: 0.1, not 0.10000000149011612."""
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


def value_and_limit(value: float, limit: float) -> tuple[str, str]:
    """Format a value and its limit with enough digits to differ, at most nine.

    If nine digits are not enough, the value's text is "just above" or "just below" the limit.
    """
    return _value_and_limit(value, limit, figure, lambda amount, digits: f"{amount:.{digits}g}")


def percent_and_limit(share: float, limit: float) -> tuple[str, str]:
    """Format a share and its limit with enough digits to differ: "33.4%", "33.3%"."""
    return _value_and_limit(
        share, limit, percent, lambda amount, digits: f"{100 * amount:.{digits}g}%"
    )


def _value_and_limit(
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
    """Format a share between 0 and 1; only 0 itself is "0%" and only 1 itself is "100%"."""
    if share is None or not math.isfinite(share):
        return NOTHING
    if 0 < share < 0.01:
        return "<1%"
    if 0.99 < share < 1:
        return ">99%"
    text = f"{share:.0%}"
    return "0%" if text == "-0%" else text  # a probability of float32 can be -1e-7


def duration(seconds: float | None) -> str:
    """Format a duration in a suitable unit: "4.2 ms", "25 s", "3.5 h", "12 days"."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    size, unit = next(((size, unit) for size, unit, end in _UNITS if seconds < end), _DAYS)
    amount = seconds / size
    return f"{amount:.2g} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"


def several(count: int, noun: str) -> str:
    """Return a count with its noun in singular or plural: "1 alarm", "2 alarms"."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}"


def _midnight(at: datetime) -> bool:
    return (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
