"""Revisions send only the columns they need, and late labels cause only a few revisions."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

import monitoring.scoring.queue
from eventlog.events import Tensor
from eventlog.settings import Home
from monitoring.revision_columns import revision_columns
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from monitoring.storage.database import Database
from registry.manifest import Monitoring, SegmentPolicy, Version
from registry.store import Registry
from tests.monitoring.log_in_memory import (
    HOUR,
    MANIFEST,
    T0,
    VERSION,
    FakeScorer,
    Log,
    Monitor,
    everything,
    like,
)
from tests.tiny_model import BINARY, register_tiny

ROWS = 60  # of the window that a real scorer revises
MOST_REVISIONS = 6  # of a window: one for each fifth of its labels, and a final one


class _Catalogue:
    def __init__(self, version: Version) -> None:
        self._version = version

    def version(self, _model: str, _number: str) -> Version:
        return self._version


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    """Return a registered classifier of two features, one of which is a segment column."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monitoring = {
        "window": {"length": 3600, "grace": 0, "label_wait": 7200},
        "segments": ["colour"],
    }
    return register_tiny(
        Registry(Home(tmp_path / "home")),
        tmp_path / "files",
        prediction=BINARY,
        monitoring=monitoring,
    )


def _predict_two_features(log: Log, chance: random.Random) -> None:
    for n in range(ROWS):
        probability = chance.random()
        log.predict(
            T0 + n,
            f"p{n}",
            inputs={
                "price": Tensor("FP32", [1, 1], [chance.random()]),
                "colour": Tensor("BYTES", [1, 1], [chance.choice(["red", "green"])]),
            },
            outputs={
                "label": Tensor("INT64", [1], [int(probability > 0.5)]),
                "probabilities": Tensor("FP32", [1, 2], [1 - probability, probability]),
            },
        )


def test_revision_of_few_columns_gives_the_scores_of_all_columns(
    version: Version, tmp_path: Path
) -> None:
    log, chance, scorer = Log(), random.Random(3), FakeScorer()
    _predict_two_features(log, chance)
    log.pass_time(T0 + 2 * HOUR)
    for n in range(ROWS):
        log.tell(f"p{n}", chance.randrange(2))
    Monitor(tmp_path / "m.db", log.records, scorer=scorer, find=lambda *_: version).drain()
    closing, revision = scorer.jobs[0], scorer.jobs[-1]
    assert closing.drift
    assert closing.columns.keys() - revision.columns.keys() == {"price"}
    whole = replace(revision, columns=closing.columns | revision.columns, order=closing.order)
    scoring = WindowScorer(ScorerCache(_Catalogue(version)), tmp_path)
    lean = scoring.score(revision)
    assert lean == scoring.score(whole)
    assert {"roc_auc", "estimated_roc_auc"} <= {score.name for score in lean.scores}
    assert any(score.segment.startswith("colour=") for score in lean.scores)


def test_a_regression_is_revised_from_every_feature() -> None:
    columns = ["x", "prediction"]
    regression = replace(MANIFEST, task="regression")
    assert revision_columns(regression, Monitoring(), columns) == {*columns}


@pytest.mark.parametrize("segment", ["x", SegmentPolicy("x", edges=[1.0])])
def test_revision_includes_segment_columns(segment: str | SegmentPolicy) -> None:
    columns = ["x", "prediction", "probability_1"]
    assert revision_columns(MANIFEST, Monitoring(), columns) == {"prediction", "probability_1"}
    assert revision_columns(MANIFEST, Monitoring(segments=[segment]), columns) == {*columns}


class _Slow(FakeScorer):
    """Scores one job for each call of `replies`, and records the largest number of queued jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.queued: list[ScoreJob] = []
        self.most = 0

    def submit(self, job: ScoreJob) -> None:
        self.queued.append(job)
        self.most = max(self.most, len(self.queued))

    def replies(self) -> list[ScoreReply]:
        if self.queued:
            super().submit(self.queued.pop(0))
        return super().replies()


def _label_storm(windows: int, rows: int) -> Log:
    """Return unlabelled windows, then the labels of all rows in random order, twice."""
    log = Log()
    places = [(window, n) for window in range(windows) for n in range(rows)]
    for window, n in places:
        log.predict(T0 + window * HOUR + n, f"p{window}-{n}")
    log.pass_time(T0 + (windows + 2) * HOUR)
    for _ in range(2):
        random.Random(1).shuffle(places)
        for window, n in places:
            log.tell(f"p{window}-{n}", (window + n) % 2)
    return log


@pytest.mark.parametrize(
    "windows", [12, pytest.param(1_000, marks=pytest.mark.nightly)], ids=["few", "thousand"]
)
def test_label_storm_causes_a_bounded_number_of_revisions(
    windows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring.scoring.queue, "IN_HAND", 64 << 10)
    rows = 12
    policy = like(window={"label_wait": (windows + 9) * 3600})
    manifest = replace(MANIFEST, monitoring=policy)
    storm = _label_storm(windows, rows)
    find: Callable[..., Version] = lambda *_: replace(VERSION, manifest=manifest)  # noqa: E731
    slow = _Slow()
    Monitor(tmp_path / "slow.db", storm.records, scorer=slow, find=find).drain(limit=97)
    Monitor(tmp_path / "calm.db", storm.records, find=find).drain()
    assert everything(tmp_path / "slow.db") == everything(tmp_path / "calm.db")
    revisions = Counter(job.window.start for job in slow.jobs if not job.drift)
    assert len(revisions) == windows
    assert max(revisions.values()) <= MOST_REVISIONS
    assert slow.most < len(slow.jobs) / 2  # the others waited in the database
    newest = {job.window.start: job for job in slow.jobs}
    for number in range(windows):
        labels = newest[T0 + number * HOUR].columns["label"]
        assert sorted(labels) == sorted((number + n) % 2 for n in range(rows))
    assert not Database(tmp_path / "slow.db").all("SELECT 1 FROM jobs")
