"""Decide whether a schedule requests retraining now. Pure.

Each scheduled time is decided once: retraining is requested, or the time is skipped or missed, and
the reason is recorded. If several scheduled times have passed since the last check, only the latest
is decided.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Literal

import msgspec

from registry.history.rows import CatchUp

ScheduleState = Literal["requested", "skipped", "missed"]
_MINUTE = 60_000_000
TOLERANCE = 10 * _MINUTE  # without catch-up, a scheduled time is missed after this delay
_WRONG_CLOCK = 24 * 60 * _MINUTE  # a decision further in the future was made by a wrong clock
_MOST_DECISIONS = 20  # maximum decisions retained for a model

# (after, until) -> latest scheduled time in ]after, until], or None if there is no such time
LatestDue = Callable[[int, int], int | None]


class ScheduleDecision(msgspec.Struct, frozen=True):
    """The decision about one scheduled time; times are microseconds since the Unix epoch."""

    due: int  # scheduled time
    decided: int  # time of the decision
    state: ScheduleState
    request: str = ""  # id of the retraining request; empty if none was made
    reason: str = ""  # reason why no request was made


class ScheduleProgress(msgspec.Struct, frozen=True):
    """Progress of a model's schedule; stored in the same transaction as the webhook outbox."""

    revision: int = 0  # registry revision that set the schedule
    until: int = 0  # scheduled times up to this one are decided
    decisions: list[ScheduleDecision] = []  # latest decisions, oldest first


def scheduled_id(model: str, due: int) -> str:
    """Return the id of a model's request at a scheduled time; it is the same in every process."""
    return "rr_" + sha256(f"schedule\0{model}\0{due}".encode()).hexdigest()[:24]


def decide(  # noqa: PLR0913  # the inputs of a decision
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
    """Return the schedule's progress at the time `now`; `before` if nothing is due.

    `revision` is the registry revision that set the schedule, and `since` its time; earlier
    scheduled times are ignored.
    `open_request` returns the id of a request that awaits its candidate, or "" if there is none. It
    is called only if a scheduled time is due.
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
    return ScheduleProgress(revision, due, [*before.decisions, decision][-_MOST_DECISIONS:])


def _decision(
    model: str, due: int, now: int, catch_up: CatchUp, open_request: Callable[[], str]
) -> ScheduleDecision:
    if catch_up == "none" and now - due > TOLERANCE:
        return ScheduleDecision(due, now, "missed", reason="no monitor ran at that time")
    if awaiting := open_request():
        reason = f"request {awaiting} awaits its candidate"
        return ScheduleDecision(due, now, "skipped", reason=reason)
    return ScheduleDecision(due, now, "requested", request=scheduled_id(model, due))
