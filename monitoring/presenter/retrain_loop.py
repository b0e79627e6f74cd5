"""Follow a retraining request to what came of it. Pure.

alarm → request → candidate → gates → approval → rollout → now. The first step that is not done is
what the loop awaits, or where it ended.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from monitoring.presenter import formats
from monitoring.results import Alarm, Delivery, RetrainRequest
from registry.errors import DamagedRow
from registry.history.rows import CHAMPION, GateResult, HistoryRow
from registry.history.state import LifecycleState

StepState = Literal["done", "not needed", "awaited", "failed", "ended", "later"]
_PASSED = frozenset({"done", "not needed"})
NAMES = ("alarm", "request", "candidate", "gates", "approval", "rollout", "now")


class LoopStep(msgspec.Struct, frozen=True):
    """One step of a loop; `later` is one that earlier steps keep from its turn."""

    name: str
    state: StepState
    text: str = ""


class RetrainLoop(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining request and its consequences; times are microseconds since the epoch."""

    request: str  # the webhook id
    model: str
    version: str
    alarm_id: str
    created: int
    candidate: str  # number of the version that answers it, "" without one
    steps: list[LoopStep]
    awaited: str  # name of the awaited step, "" if nothing is awaited
    since: int  # when that began; 0 if nothing is awaited
    overdue: bool  # a delivered request without a candidate in time
    waited_s: float = 0.0  # seconds since then


class RequestFacts(NamedTuple):
    """What the monitor knows of a request."""

    delivery: Delivery
    request: RetrainRequest
    alarm: Alarm | None
    replaced: bool  # by a later request of the model


class _Found(NamedTuple):
    """A step, and since when it waits."""

    state: StepState
    text: str = ""
    since: int = 0


def follow(
    facts: RequestFacts, state: LifecycleState | None, now: int, answer_within: int
) -> RetrainLoop:
    """Follow a request; `state` is None while the registry cannot be read.

    `answer_within` is in microseconds; 0: no request is overdue.
    """
    answer = state.answers.get(facts.delivery.webhook_id) if state is not None else None
    found = [_alarm(facts), _request(facts), _candidate(facts, state, answer)]
    if state is not None and answer is not None:
        candidate = _Candidate(state, answer, now)
        found += [step() for step in candidate.steps()]
    found = _until_open(found)
    found.append(_now(state, answer))
    steps = [LoopStep(name, one.state, one.text) for name, one in zip(NAMES, found, strict=True)]
    open_step = next((n for n, one in enumerate(found) if one.state == "awaited"), None)
    since = found[open_step].since if open_step is not None else 0
    awaited = NAMES[open_step] if open_step is not None else ""
    waited = max(0, now - since) if awaited else 0
    return RetrainLoop(
        request=facts.delivery.webhook_id,
        model=facts.request.model,
        version=facts.request.version,
        alarm_id=facts.request.alarm_id,
        created=facts.delivery.created,
        candidate=answer.number if answer is not None else "",
        steps=steps,
        awaited=awaited,
        since=since,
        overdue=awaited == "candidate" and 0 < answer_within < waited,
        waited_s=waited / 1e6,
    )


def loop_wait(loop: RetrainLoop) -> str:
    """Return what a loop awaits and for how long, "" if nothing is awaited."""
    if not loop.awaited:
        return ""
    what = {"request": "delivery", "candidate": "a candidate"}.get(loop.awaited, loop.awaited)
    late = ", overdue" if loop.overdue else ""
    return f"awaits {what} for {formats.duration(loop.waited_s)}{late}"


def _until_open(found: list[_Found]) -> list[_Found]:
    """Return all steps but the last: those after the first that is not passed come later."""
    end = next((n for n, one in enumerate(found) if one.state not in _PASSED), len(found))
    missing = len(NAMES) - 1 - len(found[: end + 1])
    return found[: end + 1] + [_Found("later")] * missing


def _alarm(facts: RequestFacts) -> _Found:
    state = f", {facts.alarm.state}" if facts.alarm is not None else ""
    return _Found("done", f"{facts.request.rule}{state}")


def _request(facts: RequestFacts) -> _Found:
    one = facts.delivery
    match one.state:
        case "delivered":
            return _Found("done", f"delivered, {formats.moment(one.created)}")
        case "dead":
            return _Found("failed", f"not delivered: {one.last_error}")
        case "superseded":
            return _Found("ended", "superseded by a later request")
        case _:
            return _Found("awaited", one.last_error or "first attempt pending", one.created)


def _candidate(
    facts: RequestFacts, state: LifecycleState | None, answer: HistoryRow | None
) -> _Found:
    if answer is not None:
        return _Found("done", f"version {answer.number}")
    if facts.replaced:
        return _Found("ended", "none; a later request was made")
    if facts.alarm is not None and facts.alarm.state == "resolved":
        return _Found("ended", "none; the alarm is resolved")
    if state is None:
        return _Found("later", "the registry cannot be read")
    champion = state.alias_row(CHAMPION)
    created = facts.delivery.created
    if champion and champion.time > created and champion.number != facts.request.version:
        return _Found("ended", f"none; version {champion.number} became champion")
    return _Found("awaited", "", created)


def _now(state: LifecycleState | None, answer: HistoryRow | None) -> _Found:
    if state is None:
        return _Found("later", "the registry cannot be read")
    champion = state.aliases.get(CHAMPION, "")
    text = f"version {champion} is champion" if champion else "no champion"
    served = answer is not None and answer.number == champion
    return _Found("done" if served else "later", text)


class _Candidate:
    """The steps of a version that answers a request."""

    def __init__(self, state: LifecycleState, answer: HistoryRow, now: int) -> None:
        self._state = state
        self._answer = answer
        self._now = now
        changes = state.alias_changes
        self._promoted = state.aliases.get(CHAMPION) == answer.number or any(
            row.number == answer.number and row.alias == CHAMPION and row.time >= answer.time
            for row in changes
        )
        self._gated = state.gated.get(answer.digest)

    def steps(self) -> list[Callable[[], _Found]]:
        """Return gates, approval and rollout."""
        return [self._gates, self._approval, self._rollout]

    def _gates(self) -> _Found:
        if (refused := self._state.rejected.get(self._answer.digest)) is not None:
            return _Found("failed", f"rejected: {refused.why}")
        verdict = _verdict(self._gated)
        if not self._state.policy.gates or self._promoted:
            return _Found("done" if verdict == "passed" else "not needed", verdict)
        missing = self._state.missing_gates(self._answer.digest)
        if missing and verdict not in {"", "passed"}:
            return _Found("failed", verdict)
        return _Found("awaited", missing, self._since()) if missing else _Found("done", verdict)

    def _approval(self) -> _Found:
        rule = self._state.policy.approvals.get(CHAMPION)
        if rule is None or self._promoted:
            return _Found("not needed")
        given = len(self._state.approvals(CHAMPION, self._answer.number, self._now))
        count = f"{given} of {rule.required}"
        return (
            _Found("done", count)
            if given >= rule.required
            else _Found("awaited", count, self._since())
        )

    def _rollout(self) -> _Found:
        if (barred := self._state.barred.get(self._answer.digest)) is not None:
            return _Found("failed", f"barred: {barred.why}")
        found = self._state.rollouts.get(CHAMPION)
        if found is None or found.number != self._answer.number:
            return _Found("not needed") if self._promoted else _Found("awaited", "", self._since())
        if found.active:
            return _Found("awaited", f"{formats.percent(found.share)}, {found.phase}", found.since)
        if found.phase == "completed" or self._promoted:
            return _Found("done", "completed")
        return _Found("failed", f"{found.phase}: {found.why}")

    def _since(self) -> int:
        """Return when the latest step that is done ended."""
        return max(self._answer.time, self._gated.time if self._gated is not None else 0)


def _verdict(gated: HistoryRow | None) -> str:
    try:
        return gated.decode(GateResult).verdict if gated is not None else ""
    except DamagedRow:
        return ""
