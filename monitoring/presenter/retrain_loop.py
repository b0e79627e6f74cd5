"""Steps from an alarm to the retrained model's rollout (the retrain loop). Pure.

alarm → request → candidate → gates → approval → rollout → now. The loop waits at the first step
that is not done, or has ended there.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from monitoring.presenter import formats
from monitoring.results import Alarm, Delivery, RetrainRequest
from registry.errors import DamagedRow
from registry.history.lifecycle import LifecycleState
from registry.history.rows import CHAMPION, GateResult, HistoryRow

StepState = Literal["done", "not needed", "awaited", "failed", "ended", "later"]
_UNSENT = "no attempt yet, receiver: DRIFTLINE_MONITOR_WEBHOOK_URL"
_PASSED = frozenset({"done", "not needed"})
NAMES = ("alarm", "request", "candidate", "gates", "approval", "rollout", "now")


class LoopStep(msgspec.Struct, frozen=True):
    """One step of a retrain loop; its state is `later` until the earlier steps are done."""

    name: str
    state: StepState
    text: str = ""


class RetrainLoop(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining request and its steps; times are microseconds since the Unix epoch."""

    request: str  # webhook id of the request
    model: str
    version: str
    alarm_id: str  # empty if a schedule made the request
    created: int
    candidate: str  # number of the version registered for the request; empty if none is
    steps: list[LoopStep]
    awaited: str  # name of the awaited step; empty if nothing is awaited
    since: int  # start of the wait; 0 if nothing is awaited
    overdue: bool  # whether a delivered request has had no candidate for too long
    waited_s: float = 0.0  # duration of the wait in seconds


class RequestFacts(NamedTuple):
    """The monitor's records of a retraining request."""

    delivery: Delivery
    request: RetrainRequest
    alarm: Alarm | None  # None for a schedule's request
    replaced: bool  # whether the model has a later request


class _Stage(NamedTuple):
    """A step's state, and the start of its wait."""

    state: StepState
    text: str = ""
    since: int = 0  # start of the wait; only set if the state is `awaited`


def retrain_loop(
    facts: RequestFacts, state: LifecycleState | None, now: int, answer_within: int
) -> RetrainLoop:
    """Return a request's retrain loop; `state` is None while the registry cannot be read.

    `answer_within` is the time in microseconds after which a request without a candidate is
    overdue. If it is 0, no request becomes overdue.
    """
    answer = state.answers.get(facts.delivery.webhook_id) if state is not None else None
    stages = [_alarm(facts), _request(facts), _candidate(facts, state, answer)]
    if state is not None and answer is not None:
        candidate = _Candidate(state, answer, now, replaced=facts.replaced)
        stages += [step() for step in candidate.steps()]
    stages = _until_open(stages)
    stages.append(_now(state, answer))
    names = (facts.request.rule, *NAMES[1:]) if facts.request.rule == "schedule" else NAMES
    steps = [
        LoopStep(name, stage.state, stage.text) for name, stage in zip(names, stages, strict=True)
    ]
    open_step = next((n for n, stage in enumerate(stages) if stage.state == "awaited"), None)
    since = stages[open_step].since if open_step is not None else 0
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
    """Return the awaited step and the duration of the wait, or "" if nothing is awaited."""
    if not loop.awaited:
        return ""
    what = {"request": "delivery", "candidate": "a candidate"}.get(loop.awaited, loop.awaited)
    late = ", overdue" if loop.overdue else ""
    return f"awaits {what} for {formats.duration(loop.waited_s)}{late}"


def loop_text(loop: RetrainLoop) -> str:
    """Return a loop in one line: its steps, and the awaited step."""
    steps = " → ".join(map(_step_text, loop.steps))
    wait = loop_wait(loop)
    return f"{steps}; {wait}" if wait else steps


def _step_text(step: LoopStep) -> str:
    text = step.text or ("" if step.state == "later" else step.state)
    return f"{step.name}: {text}" if text else step.name


def _until_open(stages: list[_Stage]) -> list[_Stage]:
    """Return all steps but the last; steps after the first unfinished step are `later`."""
    end = next((n for n, stage in enumerate(stages) if stage.state not in _PASSED), len(stages))
    missing = len(NAMES) - 1 - len(stages[: end + 1])
    return stages[: end + 1] + [_Stage("later")] * missing


def _alarm(facts: RequestFacts) -> _Stage:
    if facts.request.due:
        return _Stage("done", f"due {formats.moment(facts.request.due)}")
    state = f", {facts.alarm.state}" if facts.alarm is not None else ""
    return _Stage("done", f"{facts.request.rule}{state}")


def _request(facts: RequestFacts) -> _Stage:
    delivery = facts.delivery
    match delivery.state:
        case "delivered":
            return _Stage("done", f"delivered, {formats.moment(delivery.created)}")
        case "dead":
            return _Stage("failed", f"not delivered: {delivery.last_error}")
        case "superseded":
            return _Stage("ended", "superseded by a later request")
        case _:
            return _Stage("awaited", delivery.last_error or _UNSENT, delivery.created)


def _candidate(
    facts: RequestFacts, state: LifecycleState | None, answer: HistoryRow | None
) -> _Stage:
    if answer is not None:
        return _Stage("done", f"version {answer.number}")
    if facts.replaced:
        return _Stage("ended", "none; a later request was made")
    if facts.alarm is not None and facts.alarm.state == "resolved":
        return _Stage("ended", "none; the alarm is resolved")
    if state is None:
        return _Stage("later", "the registry cannot be read")
    champion = state.alias_row(CHAMPION)
    created = facts.delivery.created
    if champion and champion.time > created and champion.number != facts.request.version:
        return _Stage("ended", f"none; version {champion.number} became champion")
    return _Stage("awaited", "", created)


def _now(state: LifecycleState | None, answer: HistoryRow | None) -> _Stage:
    if state is None:
        return _Stage("later", "the registry cannot be read")
    champion = state.aliases.get(CHAMPION, "")
    text = f"version {champion} is champion" if champion else "no champion"
    served = answer is not None and answer.number == champion
    return _Stage("done" if served else "later", text)


class _Candidate:
    """The steps of the version that was registered for a request."""

    def __init__(
        self, state: LifecycleState, answer: HistoryRow, now: int, *, replaced: bool
    ) -> None:
        """Set the version by its registry row `answer`.

        `replaced` states whether the model has a later request.
        """
        self._state = state
        self._answer = answer
        self._now = now
        self._replaced = replaced
        changes = state.alias_changes
        self._promoted = state.aliases.get(CHAMPION) == answer.number or any(
            row.number == answer.number and row.alias == CHAMPION and row.time >= answer.time
            for row in changes
        )
        self._gated = state.gated.get(answer.digest)
        rollout = state.rollouts.get(CHAMPION)
        if rollout is None or rollout.number != answer.number:
            rollout = state.earlier_rollouts.get((CHAMPION, answer.number))
        self._latest_rollout = rollout

    @property
    def _started(self) -> bool:
        """Whether the version's rollout or promotion has begun, so gates and approvals passed."""
        return self._promoted or self._latest_rollout is not None

    def steps(self) -> list[Callable[[], _Stage]]:
        """Return functions that compute the steps gates, approval and rollout, in this order."""
        return [self._gates, self._approval, self._rollout]

    def _gates(self) -> _Stage:
        if (refused := self._state.rejected.get(self._answer.digest)) is not None:
            return _Stage("failed", f"rejected: {refused.why}")
        verdict = _verdict(self._gated)
        if not self._state.policy.gates or self._started:
            return _Stage("done" if verdict == "passed" else "not needed", verdict)
        missing = self._state.missing_gates(self._answer.digest)
        if missing and verdict not in {"", "passed"}:
            return _Stage("failed", verdict)
        if missing and self._replaced:
            return _Stage("ended", "not run against the current champion; a later request was made")
        return _Stage("awaited", missing, self._since()) if missing else _Stage("done", verdict)

    def _approval(self) -> _Stage:
        rule = self._state.policy.approvals.get(CHAMPION)
        approved = self._state.approved.get((CHAMPION, self._answer.digest), [])
        if self._started and approved:
            return _Stage("done", f"by {', '.join(dict.fromkeys(row.actor for row in approved))}")
        if rule is None or self._started:
            return _Stage("not needed")
        approvals = len(self._state.approvals(CHAMPION, self._answer.number, self._now))
        count = f"{approvals} of {rule.required}"
        return (
            _Stage("done", count)
            if approvals >= rule.required
            else _Stage("awaited", count, self._since())
        )

    def _rollout(self) -> _Stage:
        if (barred := self._state.barred.get(self._answer.digest)) is not None:
            return _Stage("failed", f"barred: {barred.why}")
        rollout = self._latest_rollout
        if rollout is None:
            return _Stage("not needed") if self._promoted else _Stage("awaited", "", self._since())
        if rollout.active:
            return _Stage(
                "awaited", f"{formats.percent(rollout.share)}, {rollout.phase}", rollout.since
            )
        if rollout.phase == "completed" or self._promoted:
            return _Stage("done", "completed")
        return _Stage("failed", f"{rollout.phase}: {rollout.why}")

    def _since(self) -> int:
        """Return the time of the latest finished step."""
        return max(self._answer.time, self._gated.time if self._gated is not None else 0)


def _verdict(gated: HistoryRow | None) -> str:
    try:
        return gated.decode(GateResult).verdict if gated is not None else ""
    except DamagedRow:
        return ""
