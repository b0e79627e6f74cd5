"""Drift, quality and performance of windows with known properties."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from sklearn.metrics import roc_auc_score

from monitoring.counters.plain_values import category
from monitoring.results import Score
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.evidently_adapter import ColumnDrift, ColumnTest, test_columns
from monitoring.scoring.drift.null_distribution import size_class
from monitoring.scoring.drift.statistics import jensenshannon, wasserstein
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from registry import validation
from registry.manifest import AlarmPolicy, Feature, Manifest, Monitoring, Prediction, Version

pytestmark = pytest.mark.untraced

test_columns.__test__ = False  # type: ignore[attr-defined] # it tests columns, not the code

Draw = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def thresholds(baseline: Baseline) -> DriftThresholds:
    return DriftThresholds(baseline)


def _of(scores: list[Score], name: str) -> dict[str, Score]:
    return {score.column: score for score in scores if score.name == name}


def test_our_statistics_agree_with_evidently() -> None:
    chance = np.random.default_rng(1)
    reference = pd.DataFrame({"x": chance.normal(size=2000), "c": chance.choice(list("abc"), 2000)})
    current = pd.DataFrame({"x": chance.normal(0.3, 2, 700), "c": chance.choice(list("abd"), 700)})
    tests = [
        ColumnTest("x", categorical=False, method="wasserstein", threshold=0.1),
        ColumnTest("c", categorical=True, method="jensenshannon", threshold=0.1),
    ]
    theirs = test_columns(tests, current, reference)
    codes = {name: n for n, name in enumerate("abcd")}
    ours = {
        "x": wasserstein(reference["x"].to_numpy(), current["x"].to_numpy()),
        "c": jensenshannon(
            reference["c"].map(codes).to_numpy(), current["c"].map(codes).to_numpy()
        ),
    }
    for name, value in ours.items():
        drift = theirs[name]
        assert isinstance(drift, ColumnDrift)
        assert drift.value == pytest.approx(value, abs=1e-9)


def test_a_window_like_the_reference_has_not_drifted(
    baseline: Baseline, thresholds: DriftThresholds, window: Draw
) -> None:
    scores = score_drift(baseline, thresholds, window(), None)
    drift = _of(scores, "drift")
    assert set(drift) == {"price", "colour", "prediction", "probability"}
    assert not any(score.breached for score in scores)
    assert _of(scores, "drifted_share")[""].value == 0


def test_a_shift_of_one_standard_deviation_is_drift(
    baseline: Baseline, thresholds: DriftThresholds, window: Draw
) -> None:
    calm = window()
    shifted = calm["price"].map(lambda price: None if price is None else price + 1.0)
    scores = score_drift(baseline, thresholds, calm.assign(price=shifted, colour="red"), None)
    drift = _of(scores, "drift")
    assert drift["price"].value == pytest.approx(1.0, abs=0.1)
    assert drift["price"].breached
    assert drift["colour"].breached
    share = _of(scores, "drifted_share")[""]
    assert (share.value, share.breached) == (1.0, True)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([None] * 1000, "all values are missing"),
        ([None] * 990 + [0.5] * 10, "only 10 values, at least 30 are needed"),
        (["much"] * 1000, "all values are missing"),
        ([float("inf")] * 1000, "all values are missing"),
    ],
)
def test_an_unscorable_column_states_why_and_does_not_lose_the_window(
    baseline: Baseline, thresholds: DriftThresholds, window: Draw, values: list[object], note: str
) -> None:
    scores = score_drift(baseline, thresholds, window(price=values), None)
    drift = _of(scores, "drift")
    assert (drift["price"].value, drift["price"].note) == (None, note)
    assert drift["colour"].value is not None


def test_a_column_that_evidently_refuses_does_not_affect_other_columns() -> None:
    frame = pd.DataFrame({"good": np.arange(100.0), "bad": np.arange(100.0)})
    tests = [
        ColumnTest("good", categorical=False, method="wasserstein", threshold=0.1),
        ColumnTest("bad", categorical=False, method="no such method", threshold=0.1),
    ]
    outcomes = test_columns(tests, frame, frame)
    assert isinstance(outcomes["good"], ColumnDrift)
    assert "could not be tested" in str(outcomes["bad"])


def test_a_p_value_drifts_below_its_threshold_and_a_distance_above() -> None:
    assert ColumnDrift(0.01, "ks", 0.05).drifted
    assert not ColumnDrift(0.5, "ks", 0.05).drifted
    assert ColumnDrift(0.5, "psi", 0.1).drifted
    assert not ColumnDrift(0.01, "psi", 0.1).drifted


def test_windows_without_drift_stay_below_thresholds_of_their_size(
    baseline: Baseline, thresholds: DriftThresholds
) -> None:
    price = baseline.columns[0]
    reference = baseline.frame["price"].dropna().to_numpy(dtype=float)
    limits = {rows: thresholds.threshold(price, rows) for rows in (64, 2048)}
    assert limits[2048] == AlarmPolicy().smallest_drift
    assert limits[64] is not None
    assert limits[64] > AlarmPolicy().smallest_drift
    chance = np.random.default_rng(11)
    drawn = [wasserstein(reference, chance.choice(reference, 64)) for _ in range(300)]
    assert sum(value > limits[64] for value in drawn) <= 9
    assert [size_class(rows) for rows in (1, 64, 100, 6500)] == [26, 64, 90, 5792]


def test_quality_distinguishes_missing_out_of_range_and_unseen_values(
    baseline: Baseline, window: Draw
) -> None:
    prices = [None] * 500 + [1000.0] * 250 + [0.0] * 250
    scores = score_quality(baseline, window(price=prices, colour=["green"] * 400 + ["red"] * 600))
    missing = _of(scores, "missing_share")["price"]
    assert (missing.value, missing.breached) == (0.5, True)
    assert missing.threshold == pytest.approx(0.15)
    assert _of(scores, "out_of_range_share")["price"].value == 0.5
    unseen = _of(scores, "unseen_share")["colour"]
    assert (unseen.value, unseen.breached) == (0.4, True)
    assert not _of(score_quality(baseline, window()), "missing_share")["price"].breached


def test_performance_covers_the_labelled_rows_and_shows_the_references_value(
    baseline: Baseline, window: Draw
) -> None:
    frame = window()
    labels = frame["label"].where(frame.index < 800, None)
    scores = _of_whole(PerformanceScorer(baseline).score(frame.assign(label=labels)))
    known = frame[:800]
    expected = roc_auc_score(known["label"].astype(int), known["probability_1"].astype(float))
    assert scores["roc_auc"].value == pytest.approx(expected)
    assert (scores["roc_auc"].threshold, scores["roc_auc"].breached) == (0.7, False)
    assert scores["roc_auc"].note.startswith("reference 0.")
    reported = (known["label"] == known["prediction"]).mean()
    assert scores["accuracy"].value == pytest.approx(reported)
    assert {"precision", "recall", "f1", "log_loss", "brier"} <= set(scores)


def test_registration_knows_the_scores_that_are_computed(baseline: Baseline, window: Draw) -> None:
    computed = {score.name for score in PerformanceScorer(baseline).score(window())}
    known = set(validation.computed_scores(baseline.manifest, baseline.manifest.prediction))
    gaps = {"estimation_gap", "error_gap"}
    assert computed == known | {f"estimated_{name}" for name in known} | gaps


def test_worthless_scores_break_the_threshold(baseline: Baseline, window: Draw) -> None:
    frame = window()
    upside_down = frame.assign(label=1 - frame["label"].astype(int))
    auc = _of_whole(PerformanceScorer(baseline).score(upside_down))["roc_auc"]
    assert auc.breached


def test_too_few_or_one_sided_labels_are_stated(baseline: Baseline, window: Draw) -> None:
    frame = window(label=None)
    score = PerformanceScorer(baseline).score(frame)[0]
    assert (score.name, score.value) == ("roc_auc", None)
    assert "0 labels are known" in score.note
    one_sided = _of_whole(PerformanceScorer(baseline).score(window(label=1)))
    assert one_sided["roc_auc"].value is None
    assert one_sided["accuracy"].value is not None


def test_intervals_stay_within_the_range_of_their_metric(baseline: Baseline, window: Draw) -> None:
    calibrated = window().head(60)
    sure = calibrated.assign(label=calibrated["prediction"])  # many metrics at the end of theirs
    scores = [
        score
        for frame in (calibrated, sure)
        for score in PerformanceScorer(baseline).score(frame)
        if score.low is not None and score.name not in {"estimation_gap", "error_gap"}
    ]
    assert {"accuracy", "calibration_error", "estimated_accuracy"} <= {one.name for one in scores}
    for score in scores:
        most = math.inf if score.name.endswith("log_loss") else 1.0
        assert score.low is not None
        assert score.high is not None
        assert 0 <= score.low <= score.high <= most, score


def _of_whole(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores}


def test_regression_is_judged_by_errors_and_ignores_labels_that_are_not_numbers(
    tmp_path: Path,
) -> None:
    chance = np.random.default_rng(3)
    truth = chance.normal(10, 2, 200)
    reported = truth + chance.normal(0.5, 0.1, 200)
    stored = pd.DataFrame({"size": truth, "price": truth, "prediction": truth + 0.1})
    stored.to_parquet(tmp_path / "reference.parquet")
    manifest = Manifest(
        task="regression",
        features=[Feature("size", "numeric", input="size")],
        prediction=Prediction("price"),
        target="price",
        held_out=True,
        monitoring=Monitoring(alarms=AlarmPolicy(min_score=0.4)),
    )
    version = Version(
        model="prices", number="1", digest="", created=0, manifest=manifest, path=str(tmp_path)
    )
    labels: list[object] = [*truth[:-3], "cheap", None, 10**400]
    frame = pd.DataFrame({"size": truth, "prediction": reported, "label": labels}, dtype=object)
    scores = _of_whole(PerformanceScorer(Baseline(version)).score(frame))
    assert {"mae", "rmse", "mape", "r2", "bias", "estimated_mae", "estimated_rmse"} <= set(scores)
    errors = (reported - truth)[:-3]
    assert scores["mae"].value == pytest.approx(np.abs(errors).mean())
    assert scores["bias"].value == pytest.approx(errors.mean())
    assert (scores["mae"].breached, scores["mae"].note) == (True, "reference 0.100")


def test_a_category_spelled_by_different_clients_is_one_category() -> None:
    assert {category(value) for value in (1, 1.0, "1", True, np.int64(1), np.float32(1))} == {"1"}
    assert category("a") == "a"
    assert category(1.5) == "1.5"


@pytest.mark.parametrize(("rows", "kept"), [(64, False), (2_000, True)])
def test_a_limit_below_chance_is_widened_with_a_note(
    baseline: Baseline, window: Draw, rows: int, kept: bool
) -> None:
    near = Baseline(baseline.version)
    policy = replace(baseline.manifest.monitoring, alarms=AlarmPolicy(min_score=0.79))
    near.manifest = replace(baseline.manifest, monitoring=policy)
    auc = _of_whole(PerformanceScorer(near).score(window(rows)))["roc_auc"]
    assert auc.threshold is not None
    assert (auc.threshold == 0.79) == kept
    assert auc.threshold <= 0.79
    assert ("the limit 0.79 is widened" in auc.note) != kept
