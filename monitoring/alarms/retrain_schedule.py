"""Decide whether a schedule requests retraining now. Pure.

An instant is decided once: it requests retraining, or it is skipped or missed, and the reason is
noted. Of several instants that passed since the last look, only the latest is decided on.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Literal

import msgspec

from registry.history.rows import CatchUp

ScheduleState = Literal["requested", "skipped", "missed"]
_MINUTE = 60_000_000
TOLERANCE = 10 * _MINUTE  # microseconds; later than that, an instant is missed without catch-up
_WRONG_CLOCK = 24 * 60 * _MINUTE  # an instant so far ahead was decided by a clock that was wrong
_NOTED = 20  # decisions of a model

# (after, until) -> latest instant in ]after, until], None if there is none
LatestDue = Callable[[int, int], int | None]


class ScheduleDecision(msgspec.Struct, frozen=True):
    """The decision about one instant; times are microseconds since the epoch."""

    due: int
    decided: int
    state: ScheduleState
    request: str = ""  # id of the request that was made
    reason: str = ""  # why none was made


class ScheduleProgress(msgspec.Struct, frozen=True):
    """The decided part of a model's schedule; stored with the outbox, in one transaction."""

    revision: int = 0  # revision of the row that set the schedule
    until: int = 0  # later instants are not decided
    decisions: list[ScheduleDecision] = []  # the latest ones, in order


def scheduled_id(model: str, due: int) -> str:
    """Return the id of the request of a model at an instant: a repetition has the same."""
    return "rr_" + sha256(f"schedule\0{model}\0{due}".encode()).hexdigest()[:24]


def decide(  # noqa: PLR0913  # what a decision depends on
    before: ScheduleProgress,
    *,
    model: str,
    revision: int,
    since: int,
    catch_up: CatchUp,
    latest_due: LatestDue,
    now: int,
    open_request: Callable[[], str],
) -> ScheduleProgress:
    """Return the progress at the present time; unchanged if nothing is due.

    `revision` and `since` are those of the schedule: instants before it was set are not its own.
    `open_request` returns the id of a request that awaits its candidate, "" without one; it is
    called only if something is due.
    """
    if before.until - now > _WRONG_CLOCK:
        return ScheduleProgress(revision, now, before.decisions)
    after = max(since, before.until)
    due = latest_due(after, now) if after < now else None
    if due is None:
        return before
    if any(decision.due == due for decision in before.decisions):
        return ScheduleProgress(revision, due, before.decisions)
    decision = _decision(model, due, now, catch_up, open_request)
    return ScheduleProgress(revision, due, [*before.decisions, decision][-_NOTED:])


def _decision(
    model: str, due: int, now: int, catch_up: CatchUp, open_request: Callable[[], str]
) -> ScheduleDecision:
    if catch_up == "none" and now - due > TOLERANCE:
        return ScheduleDecision(due, now, "missed", reason="no monitor ran at that time")
    if awaiting := open_request():
        reason = f"request {awaiting} awaits its candidate"
        return ScheduleDecision(due, now, "skipped", reason=reason)
    return ScheduleDecision(due, now, "requested", request=scheduled_id(model, due))
