"""Format dates and numbers for people. Pure.

Times are integer microseconds since the epoch; every date is in UTC.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from monitoring.results import Window

NOTHING = "–"
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


def utc(time: int) -> datetime:
    """The moment, or the nearest one in the calendar: clients state event times, also odd ones."""
    try:
        return _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        return _LAST if time > 0 else _FIRST


def period(window: Window) -> str:
    """A window as a person says it: "7–14 Jul 2013", "7 Jul 2013, 14:00–15:00"."""
    first, end = utc(window.start), utc(window.end)
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
    """The day alone: "7 Jul 2013"."""
    at = utc(time)
    return f"{_day(at)} {at.year}"


def moment(time: int) -> str:
    """To the minute: "7 Jul 2013, 14:03 UTC"."""
    return f"{day(time)}, {utc(time):%H:%M} UTC"


def number(count: int | None) -> str:
    """A count with thousands apart: "6,412"."""
    return NOTHING if count is None else f"{count:,}"


def figure(value: float | None) -> str:
    """A score or a statistic, short and never rounded to a false zero: "0.451", "<0.001"."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value != 0 and abs(value) < 0.001:
        return "<0.001" if value > 0 else ">-0.001"
    if abs(value) >= 1_000_000:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def apart(value: float, limit: float) -> tuple[str, str]:
    """Format a value and its limit with enough digits to differ, at most nine.

    A value that rounds to its limit even then is "just above" or "just below" it.
    """
    return _apart(value, limit, figure, lambda one, digits: f"{one:.{digits}g}")


def percents_apart(share: float, limit: float) -> tuple[str, str]:
    """Format two shares with enough digits to differ: "33.4%", "33.3%"."""
    return _apart(share, limit, percent, lambda one, digits: f"{100 * one:.{digits}g}%")


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
    """A share of one; only nothing is 0% and only everything is 100%."""
    if share is None or not math.isfinite(share):
        return NOTHING
    if 0 < share < 0.01:
        return "<1%"
    if 0.99 < share < 1:
        return ">99%"
    return f"{share:.0%}"


def duration(seconds: float | None) -> str:
    """How long something took, in the unit that suits it: "4.2 ms", "25 s", "3.5 h", "12 days"."""
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
