"""Judge a past rollout again from the log, under its own policy or another one. Pure.

The log's time replaces the clock, and the counts are judged after every 200 requests, so the
result is a function of history, log and policy. Steps begin where they began: what a policy would
have answered after its own verdict is not in the log.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from eventlog.events import Event, FeedbackEvent, PredictionEvent
from monitoring.rollouts.verdict import Comparison, Judgement
from registry.history.rollout_state import Rollout
from registry.history.rows import HistoryRow, RolloutStep, VerdictPolicy
from registry.history.state import reduce_rows

_EVERY = 200  # requests


class StepResult(NamedTuple):
    """The first verdict on a step, or `continue` on all of it."""

    rollout: Rollout  # as the step began
    judgement: Judgement
    requests: int  # of the step until then
    time: int  # of the last of them, microseconds since the epoch


def steps_of(rows: Sequence[HistoryRow], rollout: str) -> list[Rollout]:
    """Return a rollout as each of its steps began, from the rows of its model."""
    steps: list[Rollout] = []
    for place, row in enumerate(rows, 1):
        if row.kind != "rollout_step" or row.decode(RolloutStep).rollout != rollout:
            continue
        now = reduce_rows(rows[:place]).rollouts.get(row.alias)
        if now is not None and now.id == rollout and now.phase == "running":
            steps.append(now)
    return steps


def judge_again(
    steps: Sequence[Rollout], policy: VerdictPolicy, label: str, events: Iterable[Event]
) -> Iterator[StepResult]:
    """Yield the result of each step; `label` is the output that holds the predicted label."""
    waiting = list(steps)
    step = _Step(waiting.pop(0), policy, label)
    for event in events:
        if isinstance(event, FeedbackEvent):
            step.comparison.label(event)
        elif isinstance(event, PredictionEvent) and event.rollout == step.rollout.id:
            while waiting and event.revision >= waiting[0].revision:
                yield step.result()
                step = _Step(waiting.pop(0), policy, label)
            step.include(event)
    yield step.result()
    for later in waiting:
        yield _Step(later, policy, label).result()


class _Step:
    """The counts of one step until its verdict."""

    def __init__(self, rollout: Rollout, policy: VerdictPolicy, label: str) -> None:
        self.rollout = rollout
        self.comparison = Comparison(rollout, policy, label)
        self._requests, self._time = 0, rollout.since
        self._verdict: StepResult | None = None

    def include(self, event: PredictionEvent) -> None:
        if self._verdict is not None:
            return
        self.comparison.include(event)
        self._requests += 1
        self._time = max(self._time, event.received)
        if self._requests % _EVERY == 0:
            result = self._judged()
            if result.judgement.verdict != "continue":
                self._verdict = result

    def result(self) -> StepResult:
        return self._verdict or self._judged()

    def _judged(self) -> StepResult:
        judgement = self.comparison.judge(self._time)
        return StepResult(self.rollout, judgement, self._requests, self._time)
