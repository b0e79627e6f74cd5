"""Event time as clients state it: RFC 3339 or integer microseconds since the Unix epoch."""

from datetime import UTC, datetime

from service.errors import InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = 253_402_300_800_000_000  # the year 10000, in microseconds
_EXPECTED = "expected RFC 3339 with an offset, e.g. 2013-04-01T06:00:00Z, or integer microseconds"


def read_event_time(stated: object) -> int:
    """Microseconds since the epoch.

    Raises InvalidRequest for anything that is no point in time between the years 1970 and 9999.
    """
    microseconds = _microseconds(stated)
    if not 0 <= microseconds < _END:
        raise InvalidRequest("event_time is not between the years 1970 and 9999")
    return microseconds


def _microseconds(stated: object) -> int:
    if isinstance(stated, int) and not isinstance(stated, bool):
        return stated
    if not isinstance(stated, str):
        raise InvalidRequest(f"event_time is of type {type(stated).__name__}: {_EXPECTED}")
    try:
        moment = datetime.fromisoformat(stated)
    except ValueError:
        raise InvalidRequest(f"event_time is {stated[:64]!r}: {_EXPECTED}") from None
    if moment.tzinfo is None:
        raise InvalidRequest(f"event_time {stated!r} has no offset: {_EXPECTED}")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
