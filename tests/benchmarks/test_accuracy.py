"""The false-alarm budget holds, and the simulation's shortcuts do not change its results."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy.changes import planted
from benchmarks.accuracy.measurement import DriftlessStream, Trial, with_drift, without_drift
from benchmarks.accuracy.monitor import evidently_drifted
from benchmarks.accuracy.populations import Population, baseline
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.reference import Baseline
from registry.manifest import Monitoring


def _preset(made: Baseline, window: pd.DataFrame) -> dict[str, bool]:
    """By column, what Evidently's preset says in a report of its own."""
    # After the adapter, which lets Evidently import only what is used.
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    kinds = {column.stored: column.kind for column in made.columns}
    definition = DataDefinition(
        numerical_columns=[name for name, kind in kinds.items() if kind == "numeric"],
        categorical_columns=[name for name, kind in kinds.items() if kind == "categorical"],
    )
    sides = []
    for frame in (window, made.frame):
        reported = frame[list(kinds)].copy()
        for name, kind in kinds.items():
            if kind == "categorical":
                reported[name] = reported[name].astype(str)
        sides.append(Dataset.from_pandas(reported, data_definition=definition))
    found: dict[str, bool] = {}
    for metric in Report([DataDriftPreset()]).run(*sides).dict()["metrics"]:
        config = metric["config"]
        if str(config["type"]).endswith(":ValueDrift"):
            p_value = "p_value" in metric["metric_name"] or config["method"] in (
                "ks",
                "chisquare",
                "z",
            )
            below = metric["value"] < config["threshold"]
            found[config["column"]] = below if p_value else not below
    return {column.name: found[column.stored] for column in made.columns}


@pytest.mark.parametrize("reference_rows", [800, pytest.param(3_000, marks=pytest.mark.nightly)])
def test_column_drift_equals_evidentlys_preset(tmp_path: Path, reference_rows: int) -> None:
    chance, population = np.random.default_rng(1), Population(5)
    made = baseline(tmp_path, population.draw(chance, reference_rows), Monitoring())
    thresholds = DriftThresholds(made)
    for place in (0, 5, 8, 11):
        window = population.draw(chance, 300, planted()[place].change)
        scores = score_drift(made, thresholds, window, None)
        expected = _preset(made, window)
        assert evidently_drifted(made, thresholds, window, scores) == expected
        assert evidently_drifted(made, thresholds, window) == expected


def test_scores_are_the_same_with_and_without_evidentlys_report(tmp_path: Path) -> None:
    chance, population = np.random.default_rng(2), Population(5)
    made = baseline(tmp_path, population.draw(chance, 2_000), Monitoring())
    thresholds, window = DriftThresholds(made), population.draw(chance, 400)
    with_report = score_drift(made, thresholds, window, tmp_path / "report.html")
    assert (tmp_path / "report.html").exists()
    assert score_drift(made, thresholds, window, None) == with_report


@pytest.mark.nightly  # tests/monitoring/alarms/test_budget.py is its short version
def test_false_alarms_lie_within_the_band_of_their_budget() -> None:
    setting = DriftlessStream(
        "fresh", 5, 256, 0.0, labels=True, references=6, windows=60, one_in=8, reference_rows=3_000
    )
    calm = without_drift(setting, seed=20260101)
    low, high = calm.rule_budget
    assert low > 10, "the band must be able to fail on either side"
    assert low <= calm.by_rule["drift"] <= high
    assert calm.alarms <= calm.budget[1]


@pytest.mark.untraced
def test_planted_drift_is_detected_by_the_matching_rule() -> None:
    named = {(change.kind, change.size): change for change in planted()}
    wanted = {
        ("mean of one column", "1.0 sd"): "drift",
        ("missing values", "+20%"): "drift",
        ("joint only", "100% of rows"): "drift",
        ("concept", "20% of labels"): "concept",
    }
    trial = Trial(rows=500, columns=5, streams=2, windows=4)
    for change, found in with_drift([named[key] for key in wanted], trial):
        assert found.power == 1, change
        assert found.rules == wanted[change.kind, change.size]
        assert found.delay <= 3
