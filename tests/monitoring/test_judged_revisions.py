"""Performance alarms from few labels, late labels and labels that reverse the verdict."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from monitoring.results import Alarm, Score
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.storage.store import Store
from registry.manifest import Version
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, FakeScorer, Log, Monitor

ROWS = 50


class Accuracy(FakeScorer):
    """Scores the accuracy of the labelled rows, with an interval that narrows with the labels."""

    def submit(self, job: ScoreJob) -> None:
        self.jobs.append(job)
        pairs = zip(job.columns["label"], job.columns["prediction"], strict=True)
        hits = [label == predicted for label, predicted in pairs if label is not None]
        scores = [Score(name="drifted_share", value=0.0, threshold=0.5)] if job.drift else []
        if hits:
            value, half = sum(hits) / len(hits), 0.8 / len(hits) ** 0.5
            scores.append(
                Score(
                    name="accuracy",
                    value=value,
                    threshold=0.6,
                    breached=value < 0.6,
                    low=value - half,
                    high=value + half,
                )
            )
        self._replies.append(ScoreReply(key=job.key, scores=scores))


class _Hours(Log):
    """Hours of 50 predictions, all of class 1."""

    def hour(self, number: int) -> None:
        for row in range(ROWS):
            self.predict(T0 + number * HOUR + row, f"p{number}-{row}")

    def label(self, number: int, rows: range, label: int) -> None:
        for row in rows:
            self.tell(f"p{number}-{row}", label)


def _find(_model: str, _number: str) -> Version:
    monitoring = VERSION.manifest.monitoring
    monitoring = replace(monitoring, window=replace(monitoring.window, max_rows=ROWS))
    return replace(VERSION, manifest=replace(VERSION.manifest, monitoring=monitoring))


def _monitored(where: Path, log: Log) -> Store:
    Monitor(where, log.records, scorer=Accuracy(), find=_find).drain()
    return Store(where)


def _performance(store: Store) -> list[Alarm]:
    return [alarm for alarm in store.alarms() if alarm.rule == "performance"]


@pytest.mark.parametrize(("wrong", "fires"), [(20, True), (10, False)])
def test_partial_labels_raise_an_alarm_only_if_their_interval_shows_it(
    tmp_path: Path, wrong: int, fires: bool
) -> None:
    log = _Hours()
    for hour in range(5):
        log.hour(hour)
        log.label(hour, range(wrong), 0)
        log.label(hour, range(wrong, 20), 1)
    store = _monitored(tmp_path / "monitor.db", log)
    assert bool(_performance(store)) == fires


def test_alarm_resolves_if_the_remaining_labels_are_right(tmp_path: Path) -> None:
    log = _Hours()
    for hour in range(2):
        log.hour(hour)
    log.pass_time(T0 + 2 * HOUR + HOUR // 2)
    for hour in range(2):
        log.label(hour, range(16), 0)
    (fired,) = _performance(_monitored(tmp_path / "before.db", log))
    assert (fired.state, fired.revised) == ("firing", [])
    for hour in range(2):
        log.label(hour, range(16, ROWS), 1)
    (alarm,) = _performance(_monitored(tmp_path / "after.db", log))
    assert (alarm.alarm_id, alarm.state) == (fired.alarm_id, "resolved")
    assert [one.broken for one in alarm.revised] == [False, False]


def test_alarm_fires_if_the_remaining_labels_are_wrong(tmp_path: Path) -> None:
    log = _Hours()
    for hour in range(2):
        log.hour(hour)
    log.pass_time(T0 + 2 * HOUR + HOUR // 2)
    for hour in range(2):
        log.label(hour, range(26), 1)
    assert _performance(_monitored(tmp_path / "before.db", log)) == []
    for hour in range(2):
        log.label(hour, range(26, ROWS), 0)
    (alarm,) = _performance(_monitored(tmp_path / "after.db", log))
    assert alarm.state == "firing"


def test_few_wrong_labels_raise_an_alarm_once_the_window_expires(
    tmp_path: Path,
) -> None:
    log = _Hours()
    for hour in range(3):
        log.hour(hour)
    log.pass_time(T0 + 3 * HOUR + HOUR // 2)
    for hour in range(3):
        log.label(hour, range(9), 0)  # too few for a revision
    assert _performance(_monitored(tmp_path / "before.db", log)) == []
    log.pass_time(T0 + 9 * HOUR)
    (alarm,) = _performance(_monitored(tmp_path / "after.db", log))
    assert alarm.state == "firing"
