"""Alarms of group rules: the selection rate at the close, other rates once labels are known."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from monitoring.results import Score
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.storage.database import Database
from monitoring.storage.store import Store
from registry.manifest import AlarmPolicy, MaxGap, Version
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, FakeScorer, Log, Monitor


class Unfair(FakeScorer):
    """Reports gaps between groups in every window, and no drift."""

    def submit(self, job: ScoreJob) -> None:
        self.jobs.append(job)
        names = ("selection_rate_gap", "true_positive_rate_gap")
        reported = [
            Score(name=name, value=0.4, threshold=0.2, breached=True, segment="x", note="a, b")
            for name in names
        ]
        reported.append(
            Score(name="roc_auc", value=0.4, threshold=0.5, breached=True, segment="x=from 1")
        )
        self._replies.append(ScoreReply(key=job.key, scores=reported))


def _monitored(where: Path, alarms: AlarmPolicy, *, labels: bool) -> Store:
    log = Log()
    for hour in range(4):
        for n in range(12):
            log.predict(T0 + hour * HOUR + n, f"p{hour}-{n}")
            if labels:
                log.tell(f"p{hour}-{n}", 1)
    monitoring = replace(VERSION.manifest.monitoring, alarms=alarms)
    manifest = replace(VERSION.manifest, monitoring=monitoring)

    def find(_model: str, _number: str) -> Version:
        return replace(VERSION, manifest=manifest)

    Monitor(where, log.records, scorer=Unfair(), find=find).drain()
    return Store(where)


WITH_GROUP_RULES = AlarmPolicy(min_rows=10, max_gap=MaxGap(0.2, 0.2), min_segment_score=0.5)


@pytest.mark.parametrize(
    ("labels", "rules"),
    [
        (False, {"selection_rate_gap"}),
        (True, {"selection_rate_gap", "true_positive_rate_gap", "segment"}),
    ],
)
def test_rules_that_need_labels_are_judged_once_labels_are_known(
    tmp_path: Path, labels: bool, rules: set[str]
) -> None:
    store = _monitored(tmp_path / "monitor.db", WITH_GROUP_RULES, labels=labels)
    assert {alarm.rule for alarm in store.alarms()} == rules
    bodies = [delivery.body for delivery in store.deliveries()]
    assert len(bodies) == labels  # a segment alarm requests retraining, a gap alarm does not
    assert all(b'"segment":"x=from 1"' in body for body in bodies)


def test_policy_without_group_rules_causes_no_group_alarms(tmp_path: Path) -> None:
    store = _monitored(tmp_path / "monitor.db", AlarmPolicy(min_rows=10), labels=True)
    assert store.alarms() == []
    rules = Database(tmp_path / "monitor.db").all("SELECT DISTINCT rule FROM streaks ORDER BY 1")
    assert [rule for (rule,) in rules] == ["concept", "drift", "estimate", "parity", "performance"]
