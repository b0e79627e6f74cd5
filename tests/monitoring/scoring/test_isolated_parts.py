"""A failing part or column is reported, and nothing else of the window is lost."""

import errno
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.results import Score, Window
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.drift import evidently_adapter
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import attempt
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from registry.manifest import Version

pytestmark = pytest.mark.untraced

Draw = Callable[..., pd.DataFrame]

NASTY = [
    None,
    math.nan,
    math.inf,
    -math.inf,
    2**63,
    -(2**70),
    10**400,
    "much",
    "",
    "1e5",
    True,
    0.5,
]


class Catalogue:
    """Holds one version."""

    def __init__(self, version: Version) -> None:
        self._version = version

    def version(self, _model: str, _number: str) -> Version:
        return self._version


@pytest.fixture
def scoring(baseline: Baseline, tmp_path: Path) -> WindowScorer:
    return WindowScorer(ScorerCache(Catalogue(baseline.version)), tmp_path)


@pytest.fixture
def crippled(baseline: Baseline) -> Iterator[Baseline]:
    """A baseline that has lost one column of its reference."""
    made = Baseline(baseline.version)
    made.frame = made.frame.drop(columns="colour")
    return made


def job(frame: pd.DataFrame) -> ScoreJob:
    columns: dict[str, list[Any]] = {str(name): frame[name].tolist() for name in frame}
    window = Window(0, 3_600_000_000)
    return ScoreJob(key="k", model="tiny", version="1", window=window, columns=columns, drift=True)


def test_a_failing_part_becomes_a_score_with_the_reason() -> None:
    def compute() -> list[Score]:
        raise ZeroDivisionError("there is\nnothing")

    (score,) = attempt("unseen_share", compute, column="colour")
    assert (score.name, score.column, score.value) == ("unseen_share", "colour", None)
    assert score.note == "could not be computed: ZeroDivisionError: there is nothing"


def test_a_failing_column_does_not_lose_other_columns_drift(
    crippled: Baseline, window: Draw
) -> None:
    scores = score_drift(crippled, DriftThresholds(crippled), window(), None)
    drift = {score.column: score for score in scores if score.name == "drift"}
    assert drift["colour"].value is None
    assert "KeyError" in drift["colour"].note
    assert drift["price"].value is not None
    (share,) = [score for score in scores if score.name == "drifted_share"]
    assert share.value == 0


def test_a_failing_column_does_not_lose_other_columns_quality(
    crippled: Baseline, window: Draw
) -> None:
    scores = score_quality(crippled, window())
    failed = [score for score in scores if score.value is None]
    assert {score.column or score.name for score in failed} == {"colour", "duplicate_share"}
    assert all("KeyError" in score.note for score in failed)
    assert [s.value for s in scores if (s.column, s.name) == ("price", "missing_share")] != [None]


def test_a_failing_estimate_leaves_the_realised_figures(baseline: Baseline, window: Draw) -> None:
    frame = window().drop(columns="probability_1")
    made = PerformanceScorer(baseline)
    scores = {score.name: score for score in made.score(frame)}
    assert scores["estimated_roc_auc"].value is None
    assert "probability_1" in scores["estimated_roc_auc"].note


def test_failing_drift_leaves_quality_and_performance(
    baseline: Baseline, tmp_path: Path, window: Draw
) -> None:
    blocked = tmp_path / "reports"
    blocked.write_text("no folder")
    broken = WindowScorer(ScorerCache(Catalogue(baseline.version)), blocked)
    reply = broken.score(job(window()))
    assert not reply.error
    names = {score.name for score in reply.scores if score.value is not None}
    assert {"drifted_share", "missing_share", "roc_auc"} <= names


def test_a_full_disk_loses_the_report_but_no_score(
    baseline: Baseline, tmp_path: Path, window: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    scorer = WindowScorer(ScorerCache(Catalogue(baseline.version)), tmp_path)
    with monkeypatch.context() as disk:
        disk.setattr(evidently_adapter, "replace_file", full)
        reply = scorer.score(msgspec.structs.replace(job(window()), report="window.html"))
    assert (reply.error, reply.report, list(tmp_path.iterdir())) == ("", "", [])
    without = scorer.score(job(window()))
    assert reply.scores == without.scores
    again = scorer.score(msgspec.structs.replace(job(window()), report="window.html"))
    assert again.report == "window.html", "there is space again"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.sampled_from([1, 2, 29, 60]),
    values=st.lists(st.sampled_from(NASTY), min_size=1, max_size=6),
    column=st.sampled_from(["price", "colour", "prediction", "probability_1", "label"]),
)
def test_other_columns_are_scored_whatever_a_column_contains(
    scoring: WindowScorer, window: Draw, rows: int, values: list[Any], column: str
) -> None:
    reported = [values[row % len(values)] for row in range(rows)]
    reply = scoring.score(job(window(rows).assign(**{column: pd.Series(reported, dtype=object)})))
    assert reply.error == ""
    by_name = {score.about: score for score in reply.scores}
    assert len(by_name) == len(reply.scores)
    assert all(math.isfinite(s.value) for s in reply.scores if s.value is not None)
    unnamed = [s for s in reply.scores if s.value is None and not s.note]
    assert unnamed == []
    other = "colour" if column == "price" else "price"
    assert by_name["missing_share", other, ""].value is not None


def test_every_part_is_computed_for_any_logged_numbers(scoring: WindowScorer, window: Draw) -> None:
    frame = window()
    odd = [10**400, -(10**400), 2**63, "Infinity", "-Infinity", None]
    frame["price"] = pd.Series([*odd, *frame["price"][len(odd) :]], dtype=object)
    frame["prediction"] = ["a class that nobody knows", *frame["prediction"][1:]]
    reply = scoring.score(job(frame))
    assert reply.error == ""
    assert [score for score in reply.scores if "could not be" in score.note] == []
    (drift,) = [one for one in reply.scores if (one.name, one.column) == ("drift", "price")]
    assert drift.value is not None
