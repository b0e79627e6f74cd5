"""Follow a retraining request to its outcome. Pure.

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
_UNSENT = "no attempt yet, receiver: DRIFTLINE_MONITOR_WEBHOOK_URL"
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
    alarm_id: str  # "" of a schedule
    created: int
    candidate: str  # number of the version that answers it, "" without one
    steps: list[LoopStep]
    awaited: str  # name of the awaited step, "" if nothing is awaited
    since: int  # when that began; 0 if nothing is awaited
    overdue: bool  # a delivered request without a candidate in time
    waited_s: float = 0.0  # seconds since then


class RequestFacts(NamedTuple):
    """The monitor's records of a request."""

    delivery: Delivery
    request: RetrainRequest
    alarm: Alarm | None
    replaced: bool  # by a later request of the model


class _Stage(NamedTuple):
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
    """State what a loop awaits and since when; "" if it awaits nothing."""
    if not loop.awaited:
        return ""
    what = {"request": "delivery", "candidate": "a candidate"}.get(loop.awaited, loop.awaited)
    late = ", overdue" if loop.overdue else ""
    return f"awaits {what} for {formats.duration(loop.waited_s)}{late}"


def loop_text(loop: RetrainLoop) -> str:
    """Return a loop as one line: its steps, and what it awaits."""
    steps = " → ".join(map(_step_text, loop.steps))
    wait = loop_wait(loop)
    return f"{steps}; {wait}" if wait else steps


def _step_text(step: LoopStep) -> str:
    text = step.text or ("" if step.state == "later" else step.state)
    return f"{step.name}: {text}" if text else step.name


def _until_open(stages: list[_Stage]) -> list[_Stage]:
    """Return all steps but the last: those after the first that is not passed come later."""
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
    """The steps of a version that answers a request."""

    def __init__(
        self, state: LifecycleState, answer: HistoryRow, now: int, *, replaced: bool
    ) -> None:
        """`replaced`: a later request of the model was made."""
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
        """Whether gates and approvals let it answer; the champion may be another one since."""
        return self._promoted or self._latest_rollout is not None

    def steps(self) -> list[Callable[[], _Stage]]:
        """Return gates, approval and rollout."""
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
            return _Stage("ended", "none under this champion; a later request was made")
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
        """Return when the latest step that is done ended."""
        return max(self._answer.time, self._gated.time if self._gated is not None else 0)


def _verdict(gated: HistoryRow | None) -> str:
    try:
        return gated.decode(GateResult).verdict if gated is not None else ""
    except DamagedRow:
        return ""
