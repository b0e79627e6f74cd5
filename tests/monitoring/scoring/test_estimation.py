"""Performance before labels arrive: estimated scores, and their limits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from monitoring.results import Score
from monitoring.scoring.performance.metrics import LabelledRows, classification, jackknife_intervals
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.reference import Baseline
from registry.manifest import AlarmPolicy, Feature, Manifest, Monitoring, Prediction, Version

pytestmark = pytest.mark.untraced

chance = np.random.default_rng(11)


def _version(folder: Path, stored: pd.DataFrame, manifest: Manifest) -> Version:
    stored.to_parquet(folder / "reference.parquet")
    fields = {"model": "m", "number": "1", "digest": "", "created": 0}
    return Version(**fields, manifest=manifest, path=str(folder))


def _loans(rows: int, *, difficulty: float = 1.0, shift: float = 0.0) -> pd.DataFrame:
    """A model that knows the chance exactly; smaller `difficulty` makes chances extreme."""
    x = chance.normal(0, 2 / difficulty, rows)
    p = 1 / (1 + np.exp(-x))
    truth = chance.random(rows) < 1 / (1 + np.exp(-(x + shift)))
    return pd.DataFrame(
        {
            "x": x,
            "prediction": (p > 0.5).astype(int),
            "probability_1": p,
            "probability_0": 1 - p,
            "label": truth.astype(int),
        }
    )


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    manifest = Manifest(
        task="classification",
        features=[Feature("x", "numeric")],
        prediction=Prediction("prediction", "probabilities", [0, 1], 1),
        target="label",
        held_out=True,
        monitoring=Monitoring(alarms=AlarmPolicy(min_score=0.7)),
    )
    folder = tmp_path_factory.mktemp("classifier")
    return Baseline(_version(folder, _loans(8000), manifest))


@pytest.fixture(scope="module")
def classifier(loans: Baseline) -> PerformanceScorer:
    return PerformanceScorer(loans)


def _by_name(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores}


@pytest.mark.parametrize("difficulty", [0.5, 1.0, 4.0])
def test_changed_inputs_change_the_estimate_before_any_label(
    classifier: PerformanceScorer, difficulty: float
) -> None:
    rows = _loans(4000, difficulty=difficulty)
    blind = _by_name(classifier.score(rows.assign(label=None).astype(object)))
    real = _by_name(classifier.score(rows.astype(object)))
    estimated = blind["estimated_roc_auc"]
    assert blind["roc_auc"].value is None
    assert estimated.low is not None
    assert estimated.high is not None
    assert estimated.low - 0.01 < real["roc_auc"].value < estimated.high + 0.01
    assert not real["estimation_gap"].breached
    assert estimated.breached == (difficulty == 4.0)


def test_the_limits_of_estimated_and_realised_scores_allow_for_their_own_errors(
    classifier: PerformanceScorer, loans: Baseline
) -> None:
    """Labels differ by chance where the inputs, and with them the estimate, hardly do."""
    limited = classifier.estimator
    for rows in (300, 1_000):
        assert limited.spread("roc_auc", rows, "estimate") < limited.spread(
            "roc_auc", rows, "label"
        )
    scores = _by_name(_unreachable(loans).score(_loans(300).astype(object)))
    estimated, real = scores["estimated_roc_auc"].threshold, scores["roc_auc"].threshold
    assert real is not None
    assert estimated is not None
    assert real + 0.01 < estimated < 0.9


def _unreachable(baseline: Baseline) -> PerformanceScorer:
    """By a limit that nothing reaches: what is left is what chance is allowed."""
    version = baseline.version
    policy = Monitoring(alarms=AlarmPolicy(min_score=1.0))
    return PerformanceScorer(
        Baseline(replace(version, manifest=replace(version.manifest, monitoring=policy)))
    )


def test_concept_drift_widens_the_gap_between_estimate_and_labels(
    classifier: PerformanceScorer,
) -> None:
    scores = _by_name(classifier.score(_loans(4000).assign(label=lambda f: 1 - f.label)))
    assert scores["estimation_gap"].breached
    assert "expected 0." in scores["estimation_gap"].note


def test_rows_without_finite_probabilities_are_left_out_of_the_estimate(
    classifier: PerformanceScorer,
) -> None:
    rows = _loans(400).astype(object)
    rows.loc[:50, "probability_1"] = None
    assert _by_name(classifier.score(rows))["estimated_roc_auc"].value is not None
    nothing = _by_name(classifier.score(rows.assign(probability_1=None)))
    assert "estimated_roc_auc" not in nothing


def test_errors_of_a_regression_are_estimated_if_they_depend_on_the_inputs(
    tmp_path: Path,
) -> None:
    def prices(rows: int, size: float) -> pd.DataFrame:
        x = chance.uniform(0, size, rows)
        kind = chance.choice(["flat", "house"], rows)
        noise = chance.normal(0, 0.1 + x, rows) * np.where(kind == "house", 2, 1)
        truth = 10 * x
        return pd.DataFrame({"x": x, "kind": kind, "prediction": truth + noise, "label": truth})

    manifest = Manifest(
        task="regression",
        features=[Feature("x", "numeric"), Feature("kind", "categorical")],
        prediction=Prediction("prediction"),
        target="label",
        held_out=True,
    )
    performance = PerformanceScorer(Baseline(_version(tmp_path, prices(6000, 4.0), manifest)))
    small = prices(2000, 1.0)
    scores = _by_name(performance.score(small.astype(object)))
    assert scores["estimated_mae"].value == pytest.approx(scores["mae"].value, rel=0.15)
    assert scores["estimated_rmse"].value == pytest.approx(scores["rmse"].value, rel=0.2)
    again = _by_name(performance.score(small.astype(object)))
    assert again == scores


def test_intervals_cover_the_label_scores_as_often_as_stated() -> None:
    whole = _loans(200_000)
    truth = classification(_answers(whole))["roc_auc"]
    assert truth is not None
    held = 0
    for _ in range(100):
        rows = _answers(_loans(800))
        figures = classification(rows)
        low, high = jackknife_intervals(rows, classification, figures)["roc_auc"]
        held += low <= truth <= high
    assert 86 <= held <= 100  # 95 of 100, within 4 standard deviations


def _answers(rows: pd.DataFrame) -> LabelledRows:
    scores = {0: rows["probability_0"].to_numpy(), 1: rows["probability_1"].to_numpy()}
    return LabelledRows(rows["label"].to_numpy(), rows["prediction"].to_numpy(), scores, 1)


def _overconfident(rows: int, middle: float, *, flipped: float = 0.0) -> pd.DataFrame:
    """A model that claims more than the label's law; inputs around `middle`."""
    x = chance.normal(middle, 1.5, rows)
    p = 1 / (1 + np.exp(-1.5 * x))
    truth = (chance.random(rows) < 1 / (1 + np.exp(-x))) ^ (chance.random(rows) < flipped)
    return pd.DataFrame(
        {
            "x": x,
            "prediction": (p > 0.5).astype(int),
            "probability_1": p,
            "probability_0": 1 - p,
            "label": truth.astype(int),
        }
    )


@pytest.fixture(scope="module")
def overconfident(tmp_path_factory: pytest.TempPathFactory) -> PerformanceScorer:
    manifest = Manifest(
        task="classification",
        features=[Feature("x", "numeric")],
        prediction=Prediction("prediction", "probabilities", [0, 1], 1),
        target="label",
        held_out=True,
        monitoring=Monitoring(alarms=AlarmPolicy(score="accuracy", min_score=0.6)),
    )
    folder = tmp_path_factory.mktemp("overconfident")
    return PerformanceScorer(Baseline(_version(folder, _overconfident(2_000, 0.0), manifest)))


def test_the_estimates_band_covers_scores_outside_the_reference(
    overconfident: PerformanceScorer,
) -> None:
    scores = _by_name(overconfident.score(_overconfident(20_000, 4.5), bands=False))
    estimate, real = scores["estimated_accuracy"], scores["accuracy"].value
    assert real is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= real <= estimate.high
    assert estimate.note.endswith("some scores are outside the reference's range")
    assert not scores["estimation_gap"].breached


def test_concept_drift_is_detected_outside_the_references_range(
    overconfident: PerformanceScorer,
) -> None:
    window = _overconfident(20_000, 4.5, flipped=0.3)
    assert _by_name(overconfident.score(window, bands=False))["estimation_gap"].breached
