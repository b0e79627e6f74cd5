"""Compare the two arms of one step of a rollout, key by key. Pure.

A key counts once in each metric, however many requests it has: otherwise one busy client would
count as evidence many times. It is bad if any of its requests failed or had an invalid output; its
first answer says whether it is slow, and its first label whether it is wrong. A step begins with
empty counts, and has a share of the budget.
"""

from collections.abc import Collection
from math import log
from typing import Literal

import msgspec

from eventlog.events import FeedbackEvent, PredictionEvent
from monitoring.rollouts.evidence import (
    arm_probability,
    excess_evidence,
    lower_rate,
    upper_rate,
)
from registry.history.rollout_state import Rollout
from registry.history.rows import VerdictPolicy

Metric = Literal["errors", "latency", "outputs", "labels"]
METRICS: tuple[Metric, ...] = ("errors", "latency", "outputs", "labels")
REQUIRED = {"errors", "latency"}  # without which no version is known to be no worse
MOST_KEYS = 200_000  # of each arm and metric; later keys are not counted
_MOST_PENDING = 200_000  # answers that may still be labelled
_CALIBRATION = 200  # keys of the version before whose first answers set the latency objective
_USUAL = 0.95  # quantile of those
_SLOWER = 2.0  # an answer is slow beyond so many times the quantile
# Its inputs had been valid for the version before, so an invalid request is the new one's fault.
_BAD = {"failed", "expired", "invalid"}


class ArmCounts(msgspec.Struct):
    """The keys of one arm in one metric."""

    keys: set[str] = msgspec.field(default_factory=set)
    bad: set[str] = msgspec.field(default_factory=set)

    def include(self, key: str, *, bad: bool) -> None:
        """Count a key, bad if any of its observations is."""
        if key in self.keys or len(self.keys) < MOST_KEYS:
            self.keys.add(key)
            if bad:
                self.bad.add(key)


class Judgement(msgspec.Struct, frozen=True):
    """What the counts of a step say."""

    verdict: Literal["continue", "promote", "roll back", "pause"]
    metric: Metric | Literal[""]  # that decided, or that lacks data most
    counts: dict[Metric, list[int]]  # by metric: bad and all keys of the version, then of before


class Comparison:
    """The counts of one step; events must be of its rollout."""

    def __init__(self, rollout: Rollout, policy: VerdictPolicy, label: str = "") -> None:
        """`label` is the output that holds the predicted label, "" without one."""
        self.rollout = rollout
        self._policy = policy
        self._label = label
        self._counts = {m: {"rollout": ArmCounts(), "before": ArmCounts()} for m in METRICS}
        self._objective = policy.latency_ms * 1_000
        self._calibration: dict[str, int] = {}  # by key: duration of the first answer, in us
        self._pending: dict[str, tuple[str, str, object]] = {}  # id -> arm, key, predicted label
        self._latest = rollout.since
        self._p = arm_probability(rollout.share, policy.tolerate)
        # The budget of one metric in one step.
        self._budget = policy.false_rollback / len(METRICS) / len(rollout.steps)

    def include(self, event: PredictionEvent) -> None:
        """Count a request that was decided in this step."""
        if event.revision < self.rollout.revision or not event.online or not event.arm:
            return
        answered_by = self.rollout.number if event.arm == "rollout" else self.rollout.before
        if event.version != answered_by:  # the version before stood in
            return
        self._latest = max(self._latest, event.received)
        key, arm = event.routing_key, event.arm
        if event.outcome in _BAD or event.outcome == "ok":
            self._counts["errors"][arm].include(key, bad=event.outcome in _BAD)
        if event.outcome != "ok":
            return
        self._include_latency(event)
        if event.payload == "kept":
            self._counts["outputs"][arm].include(key, bad=_is_invalid(event))
        self._expect_label(event)

    def label(self, event: FeedbackEvent) -> None:
        """Count the first label of an answer; other labels are not evidence of their own."""
        found = self._pending.pop(event.joined_by, None) if event.row == 0 else None
        if found is not None:
            arm, key, predicted = found
            counts = self._counts["labels"][arm]
            if key not in counts.keys:
                counts.include(key, bad=str(predicted) != str(event.label))

    def judge(self, now: int) -> Judgement:
        """Return what the counts say; `now` is in microseconds since the epoch.

        A worker whose clock is ahead of `now` makes no step bake faster.
        """
        counts = {m: self._row(m) for m in METRICS if any(self._row(m))}
        for metric in METRICS if self._p < 1 else ():  # at 100 % there is nothing to compare with
            bad, _, bad_before, _ = self._row(metric)
            if bad and excess_evidence(bad, bad_before, self._p) >= -log(self._budget):
                return Judgement("roll back", metric, counts)
        baked = min(self._latest, now) - self.rollout.since
        needed = self.rollout.bake_s * 1e6
        lacking = self._lacking(counts)
        if baked >= needed and not lacking:
            return Judgement("promote", "", counts)
        if baked >= needed * self._policy.patience:
            return Judgement("pause", lacking, counts)
        return Judgement("continue", lacking, counts)

    def _row(self, metric: Metric) -> list[int]:
        arms = self._counts[metric]
        return [
            len(one) for arm in ("rollout", "before") for one in (arms[arm].bad, arms[arm].keys)
        ]

    def _lacking(self, counts: Collection[Metric]) -> Metric | Literal[""]:
        """Return a metric that does not show yet that the new version is not worse."""
        for metric in METRICS:
            if metric in REQUIRED or metric in counts:
                bad, keys, bad_before, keys_before = self._row(metric)
                usual = lower_rate(bad_before, keys_before, self._policy.false_promotion / 2)
                limit = max(self._policy.floor, self._policy.tolerate * usual)
                if upper_rate(bad, keys, self._policy.false_promotion / 2) > limit:
                    return metric
        return ""

    def _include_latency(self, event: PredictionEvent) -> None:
        if event.cache_hit:  # the version before has a warm cache, the new one an empty one
            return
        if not self._objective:
            if event.arm == "before":
                self._calibration.setdefault(event.routing_key, event.total_us)
            if len(self._calibration) >= _CALIBRATION:
                usual = sorted(self._calibration.values())[int(_USUAL * _CALIBRATION)]
                self._objective = _SLOWER * usual
            return
        counts = self._counts["latency"][event.arm]
        if event.routing_key not in counts.keys:
            counts.include(event.routing_key, bad=event.total_us > self._objective)

    def _expect_label(self, event: PredictionEvent) -> None:
        tensor = event.outputs.get(self._label) if self._label else None
        if tensor is not None and tensor.data and len(self._pending) < _MOST_PENDING:
            self._pending[event.joined_by] = event.arm, event.routing_key, tensor.data[0]


def _is_invalid(event: PredictionEvent) -> bool:
    """Return whether an output holds a value that is no finite number."""
    return any(
        value is None or value in ("Infinity", "-Infinity")
        for tensor in event.outputs.values()
        if tensor.datatype.startswith(("FP", "BF"))
        for value in tensor.values()
    )
