"""Sentences about the conditions that a rollout's next step waits for. Pure.

A key is a routing key. A bad key has a failed, slow, invalid or wrong answer
(`monitoring/rollouts/verdict.py`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from monitoring.presenter.verdicts import METRIC_NAMES
from registry.history.rollout_state import Rollout
from registry.history.rows import VerdictPolicy
from registry.rollout_pauses import Pause

_STALE_US = 60_000_000  # age of a judgement after which probably no monitor is running
_NO_COUNTS = [0, 0, 0, 0]


class CurrentJudgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """The monitor's latest judgement of a running rollout."""

    metric: str  # first metric with too little data for a promotion
    counts: Mapping[str, Sequence[int]]  # metric -> bad and all keys, new and previous version
    evidence: Mapping[str, float]  # metric -> evidence that the new version is worse
    # Metric that a promotion needs -> upper bound of the rate of bad keys, and allowed rate.
    bounds: Mapping[str, Sequence[float]] = {}
    refused: str = ""  # reason why the registry refused the verdict
    time: int = 0  # microseconds since the Unix epoch


def wait_sentences(
    rollout: Rollout,
    pause: Pause | None,
    judgement: CurrentJudgement | None,
    now: int,
    *,
    here: bool = True,
) -> list[str]:
    """State the conditions of a rollout's next step, and what happens if they are not met.

    `now` is in microseconds since the Unix epoch. `here` states whether this home's monitor would
    judge the rollout. The list is empty if the rollout has ended.
    """
    if not rollout.active:
        return []
    if rollout.phase == "paused":
        return [_pause_sentence(rollout, pause)]
    if rollout.policy is None:
        return ["No verdict policy: people advance and end this rollout."]
    if judgement is None:
        missing = "No running monitor has judged this step yet."
        elsewhere = "The monitor's page shows the counts of this step."
        return [missing if here else elsewhere, *_time_sentences(rollout, rollout.policy, now)]
    return [
        *_judgement_sentences(rollout, judgement, now),
        *_time_sentences(rollout, rollout.policy, now),
    ]


def _pause_sentence(rollout: Rollout, pause: Pause | None) -> str:
    if pause is None:
        return "Paused: a person resumes, promotes or aborts it."
    return (
        f"Paused because of too little data: unless a person resumes or promotes the rollout "
        f"before {_moment(pause.expires)}, it ends and version {rollout.before} answers all "
        "requests."
    )


def _judgement_sentences(rollout: Rollout, judgement: CurrentJudgement, now: int) -> list[str]:
    lines = []
    if now - judgement.time > _STALE_US:
        lines.append(f"No monitor has judged this step since {_moment(judgement.time)}.")
    if not judgement.counts:
        lines.append("The monitor has counted no request of this step yet.")
    elif judgement.refused:
        lines.append(f"The registry refused the verdict: {judgement.refused}.")
    lines += [
        _bound_sentence(rollout, metric, bound, judgement.counts.get(metric, _NO_COUNTS))
        for metric, bound in judgement.bounds.items()
        if judgement.counts and bound[0] > bound[1]
    ]
    return lines


def _bound_sentence(
    rollout: Rollout, metric: str, bound: Sequence[float], counts: Sequence[int]
) -> str:
    bad, keys, bad_before, keys_before = counts
    rate, limit = bound
    name = METRIC_NAMES.get(metric, metric)
    return (
        f"Not enough data about {name}: {bad:,} of {keys:,} keys prove a rate of at most "
        f"{rate:.2%}, but at most {limit:.2%} is allowed (version {rollout.before}: "
        f"{bad_before:,} of {keys_before:,})."
    )


def _time_sentences(rollout: Rollout, policy: VerdictPolicy, now: int) -> list[str]:
    baked = rollout.since + int(rollout.bake_s * 1e6)
    pauses = rollout.since + int(rollout.bake_s * policy.patience * 1e6)
    lines = [f"The step bakes until {_moment(baked)}."] if now < baked else []
    return [*lines, f"The first request after {_moment(pauses)} pauses it if there is no verdict."]


def _moment(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
