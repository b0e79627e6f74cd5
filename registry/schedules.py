"""Retraining schedules: cron expressions in a time zone, and the times at which they are due.

An instant is a time in microseconds since the epoch. Daylight saving is handled as by Debian's
cron. On a day of 25 hours, a job at a fixed hour runs once. On a day of 23 hours, a job in the
missing hour runs right after it. A job with `*` as minute or hour runs by elapsed time.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from registry.errors import InvalidSchedule, UnknownModel
from registry.history.lifecycle import LifecycleState
from registry.history.rows import CatchUp, HistoryRow, ScheduleChange, encode_detail
from registry.history.store import History
from registry.timezones import find_zone

_FIELDS = 5
_LONGEST = 200  # characters of an expression
_SECOND = 1_000_000  # microseconds
# Spans in which the latest instant is searched, one after another until one contains an instant.
_SPANS = tuple(n * 3_600 * _SECOND for n in (1, 24, 24 * 8, 24 * 32, 24 * 366, 24 * 366 * 9))


class Schedules:
    """Append changes of schedules to the history; each method returns the new revision."""

    def __init__(self, history: History, clock: Callable[[], int] | None = None) -> None:
        self._history = history
        self._clock = clock or history.time_ns

    def set(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        cron: str,
        timezone: str,
        catch_up: CatchUp,
        *,
        actor: str,
        why: str = "",
    ) -> int:
        """Set a model's retraining schedule, which replaces an earlier schedule.

        Raises InvalidSchedule, or UnknownModel for a model without a version.
        """
        require_schedule(cron, timezone)
        change = ScheduleChange("set", " ".join(cron.split()), timezone, catch_up)

        def decide(state: LifecycleState) -> list[HistoryRow]:
            if not state.registered:
                raise UnknownModel(f"model {model!r}: no version is registered")
            return [self._row(model, change, actor, why)]

        return self._history.append(model, decide)

    def remove(self, model: str, *, actor: str, why: str = "") -> int:
        """Remove the schedule of a model; raises InvalidSchedule if the model has none."""

        def decide(state: LifecycleState) -> list[HistoryRow]:
            if state.schedule is None:
                raise InvalidSchedule(f"model {model!r} has no schedule")
            return [self._row(model, ScheduleChange("remove"), actor, why)]

        return self._history.append(model, decide)

    def _row(self, model: str, change: ScheduleChange, actor: str, why: str) -> HistoryRow:
        now = self._clock() // 1_000
        detail = encode_detail(change)
        return HistoryRow(0, model, "schedule", "", now, actor, detail=detail, why=why)


def require_schedule(cron: str, timezone: str) -> None:
    """Raise InvalidSchedule for an invalid expression or time zone, or if it is never due."""
    zone = _zone(timezone)
    if next(_instants(cron, zone, datetime.now(UTC)), None) is None:
        raise InvalidSchedule(f"schedule {cron!r}: no date of the next 50 years matches it")


def latest_due(cron: str, timezone: str, after: int, until: int) -> int | None:
    """Return the latest instant in ]after, until] at which a schedule is due, or None."""
    zone = _zone(timezone)
    for span in _SPANS:
        begin = max(after, until - span)
        if begin >= until:
            return None
        due = None
        for instant in _instants(cron, zone, _moment(begin)):
            if instant > until:
                break
            if instant > begin:
                due = instant
        if due is not None or begin == after:
            return due
    return None


def next_due(cron: str, timezone: str, after: int) -> int:
    """Return the first instant after `after` at which a schedule is due."""
    for instant in _instants(cron, _zone(timezone), _moment(after)):
        if instant > after:  # in a repeated hour, the iteration can begin earlier
            return instant
    raise InvalidSchedule(f"schedule {cron!r}: no date of the next 50 years matches it")


def _instants(cron: str, zone: ZoneInfo, begin: datetime) -> Iterator[int]:
    """Yield the instants from `begin` on; some can be earlier or repeated."""
    fields = cron.split()
    if len(fields) != _FIELDS or len(cron) > _LONGEST:
        raise InvalidSchedule(
            f"schedule {cron[:_LONGEST]!r}: expected five fields (minute, hour, day, month, day of "
            'the week), as in "0 3 * * MON"'
        )
    try:
        for local in CronSim(" ".join(fields), begin.astimezone(zone)):
            yield int(local.timestamp()) * _SECOND
    except CronSimError as error:
        raise InvalidSchedule(
            f"schedule {cron!r}: {error}; expected five fields of cron (minute, hour, day, month, "
            'day of the week), as in "0 3 * * MON"'
        ) from None
    except OverflowError:
        return


def _zone(timezone: str) -> ZoneInfo:
    try:
        return find_zone(timezone)
    except ValueError as error:
        raise InvalidSchedule(str(error)) from None


def _moment(instant: int) -> datetime:
    return datetime.fromtimestamp(instant // _SECOND, UTC)


def local_time(instant: int, timezone: str) -> str:
    """Return an instant as text in a time zone, such as Mon 30 Nov 2026, 03:00 CET."""
    local = _moment(instant).astimezone(_zone(timezone))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M %Z}"
