"""Judge a past rollout again from the log, under its own policy or another policy. Pure.

The log's times replace the clock, and the counts are judged after every 200 requests. The result is
therefore a function of the registry's history, the log and the policy. Each step starts when it
started in the past, because the log does not contain the answers that would have followed another
policy's verdict.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from eventlog.events import Event, FeedbackEvent, PredictionEvent
from monitoring.rollouts.verdict import Comparison, Judgement
from registry.history.lifecycle import reduce_rows
from registry.history.rollout_state import Rollout
from registry.history.rows import HistoryRow, RolloutStep, VerdictPolicy

_EVERY = 200  # requests between two judgements


class StepResult(NamedTuple):
    """The first verdict on a step, or `continue` if the whole step led to no verdict."""

    rollout: Rollout  # the rollout at the start of the step
    judgement: Judgement
    requests: int  # number of the step's requests until the verdict
    time: int  # time of the last of these requests, in microseconds since the Unix epoch


def steps_of(rows: Sequence[HistoryRow], rollout: str) -> list[Rollout]:
    """Return the rollout at the start of each of its steps.

    `rows` are the rows of the model in the registry's history; `rollout` is the rollout's id.
    """
    steps: list[Rollout] = []
    for place, row in enumerate(rows, 1):
        if row.kind != "rollout_step" or row.decode(RolloutStep).rollout != rollout:
            continue
        now = reduce_rows(rows[:place]).rollouts.get(row.alias)
        if now is not None and now.id == rollout and now.phase == "running":
            steps.append(now)
    return steps


def backtest_steps(
    steps: Sequence[Rollout], policy: VerdictPolicy, label: str, events: Iterable[Event]
) -> Iterator[StepResult]:
    """Yield the result of each step; `label` is the output that contains the predicted label."""
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
            result = self._judge()
            if result.judgement.verdict != "continue":
                self._verdict = result

    def result(self) -> StepResult:
        return self._verdict or self._judge()

    def _judge(self) -> StepResult:
        judgement = self.comparison.judge(self._time)
        return StepResult(self.rollout, judgement, self._requests, self._time)
