"""Exact figures of all rows agree with figures computed from the rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.counters.window_counters import MOST_NAMES, LabelCounters
from monitoring.results import Score
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.reference import Baseline
from registry.manifest import AlarmPolicy, Feature, Manifest, Monitoring, Prediction, Version

CLASSES = st.sampled_from([0, 1, 1.0, "2", "no class", 7])
NUMBERS = st.floats(-1e6, 1e6) | st.integers(-9, 9) | st.sampled_from(["2.5", True])
COUNTED = {"accuracy", "precision", "recall", "f1", "mae", "rmse", "bias"}


def _tally(pairs: list[tuple[Any, Any]], part: str) -> LabelCounters:
    tally = LabelCounters()
    getattr(tally, part).add(pairs)
    return tally


def _frame(pairs: list[tuple[Any, Any]], **columns: Any) -> pd.DataFrame:
    truth, predicted = (list(column) for column in zip(*pairs, strict=True))
    return pd.DataFrame({"label": truth, "prediction": predicted, **columns}, dtype=object)


def _realised(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores if score.name in COUNTED}


@pytest.fixture(scope="module", params=["two classes", "more"])
def classifier(request: pytest.FixtureRequest, baseline: Baseline) -> PerformanceScorer:
    """Without probabilities; with a class of interest, and without one."""
    changed = Baseline(baseline.version)
    positive = 1 if request.param == "two classes" else None
    changed.manifest = replace(
        baseline.manifest,
        prediction=Prediction("label", "", [0, 1], positive),
        monitoring=Monitoring(alarms=AlarmPolicy(score="accuracy")),
    )
    return PerformanceScorer(changed)


@given(pairs=st.lists(st.tuples(CLASSES, CLASSES), min_size=30, max_size=60))
def test_classification_figures_from_counts_equal_figures_from_rows(
    classifier: PerformanceScorer, pairs: list[tuple[Any, Any]]
) -> None:
    frame = _frame(pairs)
    from_rows = _realised(classifier.score(frame))
    assert set(from_rows) == {"accuracy", "precision", "recall", "f1"}
    counted = classifier.score(frame, answers=_tally(pairs, "confusion"))
    for name, score in _realised(counted).items():
        assert (score.value, score.note) == (from_rows[name].value, from_rows[name].note)
        assert score.low == pytest.approx(from_rows[name].low, abs=1e-8)
        assert score.high == pytest.approx(from_rows[name].high, abs=1e-8)


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> PerformanceScorer:
    """A regression."""
    folder: Path = tmp_path_factory.mktemp("prices")
    truth = np.random.default_rng(3).normal(10, 2, 200)
    stored = pd.DataFrame({"size": truth, "price": truth, "prediction": truth + 0.1})
    stored.to_parquet(folder / "reference.parquet")
    manifest = Manifest(
        task="regression",
        features=[Feature("size", "numeric", input="size")],
        prediction=Prediction("price"),
        target="price",
        held_out=True,
    )
    fields = {"model": "prices", "number": "1", "digest": "", "created": 0, "path": str(folder)}
    return PerformanceScorer(Baseline(Version(manifest=manifest, **fields)))


@given(pairs=st.lists(st.tuples(NUMBERS | st.just("cheap"), NUMBERS), min_size=60, max_size=70))
def test_errors_from_sums_equal_errors_from_rows(
    prices: PerformanceScorer, pairs: list[tuple[Any, Any]]
) -> None:
    frame = _frame(pairs, size=1.0)
    from_rows = _realised(prices.score(frame))
    counted = _realised(prices.score(frame, answers=_tally(pairs, "errors")))
    assert set(counted) == set(from_rows)
    for name, score in counted.items():
        assert score.value == pytest.approx(from_rows[name].value, rel=1e-8, abs=1e-8)


def test_figures_cover_all_rows_if_the_stored_rows_are_a_sample(
    baseline: Baseline, window: Callable[..., pd.DataFrame]
) -> None:
    frame = window(400)
    answers = _tally([(1, 1)] * 30_000 + [(0, 1)] * 10_000, "confusion")
    performance = PerformanceScorer(baseline)
    sampled, counted = performance.score(frame), performance.score(frame, answers=answers)
    before, after = ({score.name: score for score in scores} for scores in (sampled, counted))
    assert [score.name for score in counted] == [score.name for score in sampled]
    assert after["accuracy"].value == after["precision"].value == 0.75
    assert after["recall"].value == 1.0
    assert _width(after["accuracy"]) == pytest.approx(_width(before["accuracy"]) / 10)
    assert after["roc_auc"].value == before["roc_auc"].value
    assert after["roc_auc"].note.endswith("; of 400 of 40,000 labels")
    assert "labels" not in after["accuracy"].note


def _width(score: Score) -> float:
    assert score.low is not None
    assert score.high is not None
    return score.high - score.low


def test_the_limit_of_an_exact_figure_uses_its_number_of_rows(
    baseline: Baseline, window: Callable[..., pd.DataFrame]
) -> None:
    near = Baseline(baseline.version)
    policy = Monitoring(alarms=AlarmPolicy(score="accuracy", min_score=0.72))
    near.manifest = replace(baseline.manifest, monitoring=policy)
    performance, frame = PerformanceScorer(near), window(60)
    answers = _tally([(1, 1)] * 2_800 + [(0, 1)] * 1_200, "confusion")
    (few,) = (s for s in performance.score(frame) if s.name == "accuracy")
    (many,) = (s for s in performance.score(frame, answers=answers) if s.name == "accuracy")
    assert few.threshold is not None
    assert many.threshold is not None
    assert few.threshold < many.threshold <= 0.72
    assert many.breached


def test_exact_figures_are_reported_if_the_sample_has_too_few_labels(
    baseline: Baseline, window: Callable[..., pd.DataFrame]
) -> None:
    frame = window()
    few = frame.assign(label=frame["label"].where(frame.index < 9, None))
    scores = PerformanceScorer(baseline).score(
        few, answers=_tally([(1, 1), (1, 0)] * 20, "confusion")
    )
    reported = {score.name: score for score in scores}
    assert (reported["accuracy"].value, reported["accuracy"].low) == (0.5, None)
    assert "9 labels are known" in reported["roc_auc"].note
    nothing = PerformanceScorer(baseline).score(few, answers=_tally([(1, 1)] * 29, "confusion"))
    assert "accuracy" not in {score.name for score in nothing}


def test_accuracy_is_exact_with_more_class_names_than_are_counted(
    baseline: Baseline, window: Callable[..., pd.DataFrame]
) -> None:
    answers = _tally([(n, n) for n in range(MOST_NAMES + 1)] * 100, "confusion")
    reported = {
        score.name: score for score in PerformanceScorer(baseline).score(window(), answers=answers)
    }
    assert reported["accuracy"].value == 1.0
    assert reported["precision"].note.endswith("; of 1,000 of 5,100 labels")


def test_sums_with_an_undefined_error_give_no_figure(prices: PerformanceScorer) -> None:
    pairs: list[tuple[Any, Any]] = [(1.0, 2.0)] * 40
    answers = _tally([*pairs, *pairs, (1.0, "Infinity")], "errors")
    scores = _realised(prices.score(_frame(pairs, size=1.0), answers=answers))
    assert scores["mae"].note.endswith("; of 40 of 81 labels")
