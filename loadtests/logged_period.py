"""The part of the log that is replayed, by --from, --to and --last."""

from datetime import UTC, datetime
from typing import NamedTuple

from eventlog.errors import SettingError
from telemetry.clock import YEAR_S, parse_duration

DEFAULT = "1h"
_SECOND = 1_000_000  # in microseconds


class LoggedPeriod(NamedTuple):
    """The reception times [start, end), in microseconds since the epoch."""

    start: int
    end: int

    def __str__(self) -> str:
        """Return the period as text in UTC."""
        first, last = (
            datetime.fromtimestamp(moment / _SECOND, UTC) for moment in (self.start, self.end)
        )
        return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


def read_period(start: str, end: str, last: str, now: int) -> LoggedPeriod:
    """Parse the options of a period; raises SettingError.

    The period ends at `end`, by default at `now`. It starts at `start`; without `start`, its length
    is `last`, by default an hour.
    """
    if start and last:
        raise SettingError("--from, --last: expected one of them, not both")
    final = _moment("--to", end) if end else now
    first = _moment("--from", start) if start else final - _length(last or DEFAULT)
    if first >= final:
        raise SettingError(f"--from {start}: expected a time before --to, {end or 'now'}")
    return LoggedPeriod(first, final)


def _moment(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(
            f"{option} {text!r}: expected a time in UTC, such as 2026-01-31T12:00"
        ) from None
    if not 1970 < moment.year < 2100:
        raise SettingError(f"{option} {text!r}: expected a year from 1971 to 2099")
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * _SECOND)


def _length(text: str) -> int:
    try:
        return parse_duration(text, longest=YEAR_S) * _SECOND
    except ValueError as error:
        raise SettingError(f"--last {text!r}: {error}") from None
