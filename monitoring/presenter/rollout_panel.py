"""A rollout as the status page shows it: counts of bad keys, evidence and verdicts. Pure.

A bad key is a routing key with a failed, slow, invalid or wrong answer
(`monitoring/rollouts/verdict.py`).
"""

from collections.abc import Mapping, Sequence

import msgspec

from monitoring.presenter.rollout_waits import CurrentJudgement, wait_sentences
from monitoring.presenter.verdicts import METRIC_NAMES, verdict_sentence
from registry.errors import DamagedRow, VersionRefused
from registry.history.lifecycle import LifecycleState
from registry.history.rollout_state import Rollout
from registry.history.rows import HistoryRow, RolloutVerdict
from registry.rollback import earlier_version
from registry.rollout_pauses import pause_of


class MetricCounts(msgspec.Struct, frozen=True):
    """The counts of routing keys and bad keys of both versions, by one metric."""

    metric: str
    bad: int  # bad keys of the version that is rolled out
    keys: int  # all keys of the version that is rolled out
    bad_before: int  # bad keys of the previous version
    keys_before: int  # all keys of the previous version
    # Evidence that the new version is worse; at 1 it is rolled back. None without a bad key.
    evidence: float | None = None

    @property
    def share(self) -> float | None:
        """The share of bad keys among the keys of the version that is rolled out."""
        return self.bad / self.keys if self.keys else None

    @property
    def share_before(self) -> float | None:
        """The share of bad keys among the keys of the previous version."""
        return self.bad_before / self.keys_before if self.keys_before else None


class VerdictLine(msgspec.Struct, frozen=True):
    """One verdict about a rollout."""

    time: int
    actor: str
    step: int
    verdict: str
    sentence: str


class RolloutPanel(msgspec.Struct, frozen=True):
    """The latest rollout of an alias, and the actions that it allows."""

    model: str
    alias: str
    rollout: Rollout
    counts: list[MetricCounts] = []
    judged: bool = False  # True if the counts are current, False if the latest verdict had them
    lacking: str = ""  # first metric with too little data for a promotion
    awaited: list[str] = []  # sentences about the conditions of the next step
    verdicts: list[VerdictLine] = []
    replaced_by: str = ""  # version of the alias now, if it changed after a completed rollout

    @property
    def actions(self) -> list[str]:
        """The actions that a person can take on the rollout now."""
        if not self.rollout.active:
            return []
        if self.rollout.phase == "paused":
            return ["resume", "promote", "abort"]
        last = self.rollout.step + 1 == len(self.rollout.steps)
        return ["pause", *([] if last else ["advance"]), "promote", "abort"]

    @property
    def baked_at(self) -> int:
        """The end of the step's minimum duration, in microseconds since the Unix epoch."""
        return self.rollout.since + int(self.rollout.bake_s * 1e6)


def rollout_panel(
    model: str,
    alias: str,
    state: LifecycleState,
    judgements: Mapping[str, CurrentJudgement],
    time: int,
) -> RolloutPanel | None:
    """Return the latest rollout of an alias, or None if the alias never had a rollout.

    `time` is the current time in microseconds since the Unix epoch.
    """
    rollout = state.rollouts.get(alias)
    if rollout is None:
        return None
    verdicts = _verdicts(state, rollout)
    now = judgements.get(rollout.id) if rollout.phase == "running" else None
    waits = wait_sentences(rollout, pause_of(state, rollout), now, time)
    if now is not None:
        return RolloutPanel(
            model,
            alias,
            rollout,
            counts=_counts(now.counts, now.evidence),
            judged=True,
            lacking=METRIC_NAMES.get(now.metric, now.metric),
            awaited=waits,
            verdicts=_verdict_lines(verdicts),
        )
    last = _counts(verdicts[-1][1].counts if verdicts else {}, {})
    return RolloutPanel(
        model,
        alias,
        rollout,
        counts=last,
        awaited=waits,
        verdicts=_verdict_lines(verdicts),
        replaced_by=state.replaced_by(rollout),
    )


def rollback_target(model: str, alias: str, state: LifecycleState) -> str:
    """Return the version that a rollback would restore, or "" if there is none."""
    try:
        return earlier_version(state, model, alias)
    except VersionRefused:
        return ""


def _verdicts(state: LifecycleState, rollout: Rollout) -> list[tuple[HistoryRow, RolloutVerdict]]:
    verdicts = []
    for row in state.verdicts:
        if row.evidence == rollout.id:
            try:
                verdicts.append((row, row.decode(RolloutVerdict)))
            except DamagedRow:  # `driftline audit verify` reports the row
                continue
    return verdicts


def _verdict_lines(verdicts: Sequence[tuple[HistoryRow, RolloutVerdict]]) -> list[VerdictLine]:
    return [
        VerdictLine(row.time, row.actor, verdict.step, verdict.verdict, verdict_sentence(verdict))
        for row, verdict in verdicts
    ]


def _counts(
    counts: Mapping[str, Sequence[int]], evidence: Mapping[str, float]
) -> list[MetricCounts]:
    return [
        MetricCounts(
            METRIC_NAMES.get(metric, metric),
            bad=row[0],
            keys=row[1],
            bad_before=row[2],
            keys_before=row[3],
            evidence=evidence.get(metric),
        )
        for metric, row in counts.items()
        if len(row) == 4
    ]
