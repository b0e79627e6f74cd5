"""Judge a rollout: compare the routing keys of the two arms in its current step. Pure.

A key is counted once in each metric, however many requests it has. Otherwise one busy client would
count as evidence many times. A key is bad if any of its requests failed (errors), if any of its
outputs was invalid (outputs), if its first answer was slow (latency), or if its first labelled
prediction was wrong (labels). Each step starts with empty counts, and has an equal part of the
false-rollback budget.
"""

from collections.abc import Collection
from math import log
from typing import Literal, NamedTuple, get_args

import msgspec

from eventlog.events import FeedbackEvent, PredictionEvent
from monitoring.rollouts.evidence import (
    arm_probability,
    excess_evidence,
    lower_rate,
    upper_rate,
)
from registry.history.rollout_state import Rollout
from registry.history.rows import VerdictMetric, VerdictPolicy

METRICS: tuple[VerdictMetric, ...] = get_args(VerdictMetric)
REQUIRED = {"errors", "latency"}  # metrics that every promotion needs, unless the policy names some
MOST_KEYS = 200_000  # maximum keys of each arm and metric; later keys are not counted
_MOST_PENDING = 200_000  # maximum answers that are stored until their label arrives
_CALIBRATION = 200  # keys of the previous version whose first answers set the latency objective
_USUAL = 0.95  # quantile of these answers' durations
_SLOWER = 2.0  # an answer is slow if it takes longer than this multiple of the quantile
# "invalid" counts as bad, because the same callers' requests were valid for the previous version.
_BAD = {"failed", "expired", "invalid"}


class ArmCounts(msgspec.Struct):
    """The keys of one arm by one metric."""

    keys: set[str] = msgspec.field(default_factory=set)
    bad: set[str] = msgspec.field(default_factory=set)

    def include(self, key: str, *, bad: bool) -> None:
        """Count a key; it is bad if `bad` is True in any of the calls."""
        if key in self.keys or len(self.keys) < MOST_KEYS:
            self.keys.add(key)
            if bad:
                self.bad.add(key)


class Bound(NamedTuple):
    """The upper bound of the new version's rate of bad keys by one metric, and its limit."""

    rate: float  # upper bound of the rate
    limit: float  # allowed rate

    @property
    def holds(self) -> bool:
        """Whether the version is shown to be no worse than allowed."""
        return self.rate <= self.limit


class Judgement(msgspec.Struct, frozen=True):
    """The verdict on the counts of a step."""

    verdict: Literal["continue", "promote", "roll back", "pause"]
    # Metric that decided, or the first metric with too little data for a promotion.
    metric: VerdictMetric | Literal[""]
    # Metric -> bad and all keys of the new version, then bad and all keys of the previous version.
    counts: dict[VerdictMetric, list[int]]
    # Metric -> evidence that the new version is worse; at 1 it is rolled back.
    evidence: dict[VerdictMetric, float] = {}
    bounds: dict[VerdictMetric, Bound] = {}  # bounds of the metrics that a promotion needs


class Comparison:
    """The counts of one step; callers must only pass events of its rollout."""

    def __init__(self, rollout: Rollout, policy: VerdictPolicy, label: str = "") -> None:
        """`label` is the output that contains the predicted label; "" if there is none."""
        self.rollout = rollout
        self._policy = policy
        self._label = label
        self._metrics = [m for m in METRICS if not policy.metrics or m in policy.metrics]
        self._required = set(policy.metrics or REQUIRED)
        self._counts = {m: {"rollout": ArmCounts(), "before": ArmCounts()} for m in METRICS}
        self._objective = policy.latency_ms * 1_000
        self._calibration: dict[str, int] = {}  # key -> duration of its first answer, in us
        self._pending: dict[str, tuple[str, str, object]] = {}  # id -> arm, key, predicted label
        self._latest = rollout.since
        self._p = arm_probability(rollout.share, policy.tolerate)
        # False-rollback budget of one metric in one step.
        self._budget = policy.false_rollback / len(self._metrics) / len(rollout.steps)

    def include(self, event: PredictionEvent) -> None:
        """Count a request that was routed in this step."""
        if event.revision < self.rollout.revision or not event.online or not event.arm:
            return
        answered_by = self.rollout.number if event.arm == "rollout" else self.rollout.before
        if event.version != answered_by:  # the previous version replaced the arm's version
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
        """Count the first label of an answer; further labels are no independent evidence.

        Labels of the review queue are ignored, because its rows are no random sample.
        """
        if event.review:
            return
        prediction = self._pending.pop(event.joined_by, None) if event.row == 0 else None
        if prediction is not None:
            arm, key, predicted = prediction
            counts = self._counts["labels"][arm]
            if key not in counts.keys:
                counts.include(key, bad=str(predicted) != str(event.label))

    def judge(self, now: int) -> Judgement:
        """Return the verdict on the counts; `now` is in microseconds since the Unix epoch.

        Times after `now`, from a worker whose clock is ahead, do not shorten the step.
        """
        counts = {m: self._counts_of(m) for m in self._metrics if any(self._counts_of(m))}
        evidence, bounds = self._evidence(), self._bounds(counts)
        for metric, reached in evidence.items():
            if reached >= 1:
                return Judgement("roll back", metric, counts, evidence, bounds)
        baked = min(self._latest, now) - self.rollout.since
        needed = self.rollout.bake_s * 1e6
        lacking: VerdictMetric | Literal[""] = next((m for m in bounds if not bounds[m].holds), "")
        if baked >= needed and not lacking:
            return Judgement("promote", "", counts, evidence, bounds)
        if baked >= needed * self._policy.patience:
            return Judgement("pause", lacking, counts, evidence, bounds)
        return Judgement("continue", lacking, counts, evidence, bounds)

    def _evidence(self) -> dict[VerdictMetric, float]:
        evidence: dict[VerdictMetric, float] = {}
        # If the rollout has all requests, there is no other arm to compare with.
        for metric in self._metrics if self._p < 1 else ():
            bad, _, bad_before, _ = self._counts_of(metric)
            if bad:
                reached = float(excess_evidence(bad, bad_before, self._p)) / -log(self._budget)
                evidence[metric] = max(0.0, reached)
        return evidence

    def _counts_of(self, metric: VerdictMetric) -> list[int]:
        arms = self._counts[metric]
        return [
            len(keys) for arm in ("rollout", "before") for keys in (arms[arm].bad, arms[arm].keys)
        ]

    def _bounds(self, counts: Collection[VerdictMetric]) -> dict[VerdictMetric, Bound]:
        """Return the bound of each metric that a promotion needs."""
        bounds = {}
        for metric in self._metrics:
            if metric in self._required or metric in counts:
                bad, keys, bad_before, keys_before = self._counts_of(metric)
                usual = lower_rate(bad_before, keys_before, self._policy.false_promotion / 2)
                limit = max(self._policy.floor, self._policy.tolerate * usual)
                rate = upper_rate(bad, keys, self._policy.false_promotion / 2)
                bounds[metric] = Bound(rate, limit)
        return bounds

    def _include_latency(self, event: PredictionEvent) -> None:
        # The new version's cache starts empty, so cached answers would favour the previous version.
        if event.cache_hit:
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
    """Return whether an output contains a value that is not a finite number."""
    return any(
        value is None or value in ("Infinity", "-Infinity")
        for tensor in event.outputs.values()
        if tensor.datatype.startswith(("FP", "BF"))
        for value in tensor.values()
    )
