"""An image model without a reference, from its first event to the drift alarm."""

from pathlib import Path

import numpy as np
import pytest

from monitoring.baselines.files import BaselineFiles
from monitoring.results import Score
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from monitoring.storage.store import Store
from registry.manifest import Version
from tests.monitoring.image_model import image_version, of_image
from tests.monitoring.log_in_memory import HOUR, T0, FakeScorer, Log, Monitor

pytestmark = pytest.mark.untraced


class _Versions:
    def __init__(self, version: Version) -> None:
        self._version = version

    def version(self, _model: str, _number: str) -> Version:
        return self._version


class _RealScorer(FakeScorer):
    def __init__(self, version: Version, files: BaselineFiles, reports: Path) -> None:
        super().__init__()
        self._scoring = WindowScorer(ScorerCache(_Versions(version), baselines=files), reports)

    def submit(self, job: ScoreJob) -> None:
        self.jobs.append(job)
        self._replies.append(self._scoring.score(job))

    @property
    def last(self) -> ScoreReply:
        return self._replies[-1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return the store of ten hours of 150 images each; images are brighter from hour 8 on."""
    folder = tmp_path_factory.mktemp("image")
    files, version = BaselineFiles(folder / "baselines"), image_version(folder)
    log, random = Log(), np.random.default_rng(3)
    for hour in range(10):
        for n in range(150):
            brightness = random.normal(0.5, 0.1) + (0.2 if hour >= 7 else 0.0)
            values = of_image(float(brightness), *map(float, random.normal(1.0, 0.2, size=2)))
            log.predict(T0 + hour * HOUR + n, f"{hour}-{n}", **values)
    log.pass_time(T0 + 11 * HOUR)
    scorer = _RealScorer(version, files, folder / "reports")
    where = folder / "monitor.db"
    Monitor(where, log.records, scorer=scorer, find=lambda *_: version, baselines=files).drain()
    return Store(where)


def test_version_learns_a_baseline_and_then_names_the_drifted_column(store: Store) -> None:
    results = store.results("tiny", "1")
    assert [result.verdict for result in results[:3]] == ["learning"] * 3
    # By chance one window in ten drifts; an alarm needs two in a row.
    assert [result.verdict for result in results[3:7]].count("ok") >= 3
    assert [result.verdict for result in results[7:10]] == ["drifted"] * 3
    (alarm,) = store.alarms()
    assert (alarm.rule, alarm.state) == ("drift", "firing")
    assert alarm.since.start == T0 + 7 * HOUR
    assert alarm.columns[0] == "image brightness"
    assert "image brightness" in alarm.sentence


def test_learning_windows_describe_each_column(store: Store) -> None:
    first = store.results("tiny", "1")[0]
    of = {(score.name, score.column): score for score in first.scores}
    assert of["mean", "image brightness"].value == pytest.approx(0.5, abs=0.05)
    assert of["p95", "image brightness"].value == pytest.approx(0.66, abs=0.08)
    assert of["missing_share", "embedding norm"].value == 0.0
    assert not any(score.name == "drift" for score in first.scores)


def test_image_model_has_no_scores_of_labels_or_predictions(store: Store) -> None:
    judged = store.results("tiny", "1")[8]
    names = {score.name for score in judged.scores}
    assert {"drift", "drifted_share", "missing_share", "strongest_drift", "joint_drift"} <= names
    assert not {"roc_auc", "accuracy", "parity", "estimation_gap", "segments"} & names
    assert not [score for score in judged.scores if score.column == "prediction"]
    about = next(score for score in judged.scores if score.name == "reference_rows")
    assert about.value == 450.0
    assert about.note.startswith("of the baseline learned from production, ")
    assert _drift(judged.scores)["image brightness"].breached
    assert not _drift(judged.scores)["embedding norm"].breached


def _drift(scores: list[Score]) -> dict[str, Score]:
    return {score.column: score for score in scores if score.name == "drift"}
