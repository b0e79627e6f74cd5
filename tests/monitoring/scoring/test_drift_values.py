"""Drift does not depend on units, names or order; categories are compared by one rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.accuracy.populations import baseline
from monitoring.results import Score
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.drift_values import DriftValues
from monitoring.scoring.drift.joint import JointDrift
from monitoring.scoring.drift.statistics import wasserstein
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.reference import Column
from registry.manifest import Monitoring

NUMBER, NAME = Column("x", "numeric", "x"), Column("c", "categorical", "c")


def _rows(chance: np.random.Generator, rows: int, moved: float = 0.0) -> pd.DataFrame:
    first = chance.normal(moved, 1, rows)
    p = chance.beta(2, 2, rows)
    return pd.DataFrame(
        {
            "x": first,
            "y": 0.7 * first + chance.normal(size=rows),
            "c": chance.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2]),
            "prediction": (p > 0.5).astype(int),
            "probability_0": 1 - p,
            "probability_1": p,
            "label": (chance.random(rows) < p).astype(int),
        }
    )


def _scores(folder: Path, reference: pd.DataFrame, window: pd.DataFrame) -> dict[Any, Score]:
    made = baseline(folder, reference, Monitoring())
    found = score_drift(made, DriftThresholds(made), window, None)
    return {(score.name, score.column): score for score in found}


def test_scores_do_not_depend_on_units_names_and_order(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    reference, window = _rows(chance, 600), _rows(chance, 300, moved=0.3)
    plain = _scores(tmp_path / "plain", reference, window)
    names = {"a": "zebra", "b": "ape", "c": "m"}

    def other(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.assign(
            x=frame["x"] * 1e-5 + 3.0, y=frame["y"] * 1e9 - 7e8, c=frame["c"].map(names)
        )
        return changed.rename(columns={"x": "zz"})[["y", "c", "zz", *frame.columns[3:]]]

    changed = _scores(tmp_path / "other", other(reference), other(window))
    for (name, column), score in plain.items():
        same = changed[name, "zz" if column == "x" else column]
        assert same.value == pytest.approx(score.value, rel=1e-5), (name, column)
        assert same.breached == score.breached
    assert plain["drift", "x"].breached


@settings(deadline=None, max_examples=40)
@given(
    scale=st.floats(1e-12, 1e12),
    shift=st.floats(-100, 100),
    seed=st.integers(0, 1_000),
)
def test_a_distance_is_the_same_in_every_unit(scale: float, shift: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    reference, window = chance.lognormal(size=200), chance.lognormal(0.2, size=100)
    plain = wasserstein(reference, window)
    found = wasserstein((reference + shift) * scale, (window + shift) * scale)
    assert found == pytest.approx(plain, rel=1e-8)


@pytest.mark.parametrize("constant", [0.1, -1e300, 0.0])
def test_a_constant_reference_has_a_distance(constant: float) -> None:
    values = DriftValues(NUMBER, *[pd.Series([constant] * 50)] * 2)
    assert values.expected.nunique() == 1
    same = values.current(pd.Series([constant] * 3))
    assert same.tolist() == values.expected[:3].tolist()


def test_numbers_that_no_float_can_square_are_compared() -> None:
    chance = np.random.default_rng(3)
    values = DriftValues(NUMBER, *[pd.Series(chance.normal(size=100) * 1e300)] * 2)
    assert np.isfinite(values.expected).all()
    assert values.expected.std() == pytest.approx(1, rel=0.05)


def test_rare_and_unseen_categories_are_pooled_on_both_sides() -> None:
    chance = np.random.default_rng(4)
    reference = pd.Series(chance.zipf(1.3, 4_000).astype(str))
    values = DriftValues(NAME, reference, reference)
    assert values.pooled
    assert values.expected.nunique() <= 200
    current = values.current(pd.Series(["1", "never seen", "nor this", None]))
    assert current.tolist()[:3] == ["1: 1", "other", "other"]
    assert "rare" in set(values.expected)
    assert current.isna().tolist() == [False, False, False, True]


def test_many_categories_that_are_all_rare_are_compared_by_how_many_are_new() -> None:
    chance = np.random.default_rng(8)
    reference = pd.Series(chance.integers(0, 1_000, 5_000).astype(str))
    values = DriftValues(NAME, reference, reference)
    assert not values.reason
    assert set(values.expected) == {"rare", "other"}
    assert set(values.current(pd.Series(["new", "newer"]))) == {"other"}


def test_a_few_categories_are_not_pooled() -> None:
    reference = pd.Series(["a", "b"] * 100)
    assert DriftValues(NAME, reference, reference).expected.tolist() == reference.tolist()


def test_identifiers_are_recognised_and_not_compared() -> None:
    reference = pd.Series([f"user-{place}" for place in range(2_000)])
    reason = DriftValues(NAME, reference, reference).reason
    assert reason == "like an identifier: 2,000 different values in 2,000 reference rows"


def test_columns_with_only_rare_categories_have_no_correlations() -> None:
    chance = np.random.default_rng(5)
    frame = pd.DataFrame({"x": chance.normal(size=500), "c": chance.integers(0, 400, 500)})
    assert JointDrift(frame, [NUMBER, NAME]).reason == "fewer than two columns that vary"


def test_infinities_are_not_reported_as_missing(tmp_path: Path) -> None:
    chance = np.random.default_rng(6)
    reference, window = _rows(chance, 600), _rows(chance, 300)
    window.loc[:149, "x"] = np.inf
    strongest = _scores(tmp_path, reference, window)["strongest_drift", ""]
    assert strongest.note == "x 50% infinite, 0% in the reference"


def test_a_changed_missing_share_is_never_printed_like_the_references(tmp_path: Path) -> None:
    reference = _rows(np.random.default_rng(7), 1_000)
    reference.loc[:95, "x"] = np.nan
    window = reference.copy()
    window.loc[:103, "x"] = np.nan
    strongest = _scores(tmp_path, reference, window)["strongest_drift", ""]
    assert strongest.note == "x 10.4% missing, 9.6% in the reference"
