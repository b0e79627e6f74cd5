"""The event time in requests: RFC 3339 or integer microseconds since the Unix epoch."""

from datetime import UTC, datetime

from service.errors import InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = 31_536_000_000_000  # 1971-01-01; a time in milliseconds is smaller and thus refused
LATEST = 4_102_444_800_000_000 - 1  # last microsecond before 2100-01-01
_BOUNDS = f"expected 1971-01-01 to 2099-12-31 UTC, {EARLIEST} to {LATEST} microseconds"
_LIKELY = 631_152_000_000_000  # 1990-01-01; earliest time that is assumed when guessing a unit
_UNITS = {  # name: microseconds = number * numerator // denominator
    "seconds": (1_000_000, 1),
    "milliseconds": (1_000, 1),
    "nanoseconds": (1, 1_000),
}
_LONGEST = 64  # maximum number of a value's characters that a message repeats
_EXPECTED = "expected RFC 3339 with an offset, e.g. 2013-04-01T06:00:00Z, or integer microseconds"


def read_event_time(value: object) -> int:
    """Return the microseconds since the epoch.

    Raises InvalidRequest if the value is not a time from EARLIEST to LATEST. If it looks like a
    number in another unit, the error names this unit.
    """
    microseconds = _microseconds(value)
    if not EARLIEST <= microseconds <= LATEST:
        hint = _likely_unit(value) if isinstance(value, int) else ""
        raise InvalidRequest(f"event_time is {_shortened(value)}: {_BOUNDS}{hint}")
    return microseconds


def ahead_of_reception(value: object, ahead: int, most: int) -> str:
    """Return the error message for an event time `ahead` microseconds after the reception."""
    return (
        f"event_time is {_shortened(value)}, {ahead // 1_000_000} seconds ahead of the clock; "
        f"expected at most {most // 1_000_000} (DRIFTLINE_SERVICE_EVENT_TIME_AHEAD_S)"
    )


def _likely_unit(number: int) -> str:
    for unit, (numerator, denominator) in _UNITS.items():
        if _LIKELY <= number * numerator // denominator <= LATEST:
            return f"; the number looks like {unit}"
    return ""


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _microseconds(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise InvalidRequest(f"event_time is of type {type(value).__name__}: {_EXPECTED}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidRequest(f"event_time is {_shortened(value)!r}: {_EXPECTED}") from None
    if moment.tzinfo is None:
        raise InvalidRequest(f"event_time {_shortened(value)!r} has no offset: {_EXPECTED}")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
