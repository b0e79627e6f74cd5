"""Drift methods that the manifest names, and unusual columns."""

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.results import Score
from monitoring.scoring.drift import evidently_adapter
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.evidently_adapter import ColumnDrift, ColumnTest
from monitoring.scoring.drift.statistics import jensenshannon, wasserstein
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from registry.manifest import Kind
from registry.validation import DRIFT_METHODS, UNFIT_METHODS

pytestmark = pytest.mark.untraced

Draw = Callable[..., pd.DataFrame]

NUMERIC = ["ks", "anderson", "mannw", "t_test", "cramer_von_mises", "es", "psi", "kl_div"]
NUMERIC += ["wasserstein", "jensenshannon", "hellinger", "ed"]
CATEGORICAL = ["chisquare", "TVD", "g_test", "psi", "kl_div", "jensenshannon", "hellinger"]
BINARY = ["z", "fisher_exact"]


def _like(baseline: Baseline, **monitoring: object) -> Baseline:
    """The baseline, watched by another policy."""
    policy = replace(baseline.manifest.monitoring, **monitoring)
    other = Baseline(baseline.version)
    other.manifest = replace(baseline.manifest, monitoring=policy)
    return other


def _drift(baseline: Baseline, window: pd.DataFrame) -> dict[str, Score]:
    scores = score_drift(baseline, DriftThresholds(baseline), window, None)
    return {score.column: score for score in scores if score.name == "drift"}


def _test(
    method: str, current: object, reference: object, *, categorical: bool, threshold: float | None
) -> ColumnDrift:
    test = ColumnTest("x", categorical=categorical, method=method, threshold=threshold)
    frames = [pd.DataFrame({"x": values}) for values in (current, reference)]
    drift = evidently_adapter.test_columns([test], *frames)["x"]
    assert isinstance(drift, ColumnDrift), drift
    return drift


def _agrees_with_itself(method: str, same: ColumnDrift, other: ColumnDrift) -> None:
    assert (same.drifted, other.drifted) == (False, True)
    if method in evidently_adapter.P_VALUES:
        assert other.value < same.value
    else:
        assert other.value > same.value


@pytest.mark.parametrize("method", NUMERIC)
def test_a_numeric_method_detects_planted_drift_and_nothing_else(method: str) -> None:
    chance = np.random.default_rng(6)
    reference, calm, moved = (chance.normal(mean, 1, 600) for mean in (0, 0, 1.5))
    same = _test(method, calm, reference, categorical=False, threshold=None)
    other = _test(method, moved, reference, categorical=False, threshold=None)
    _agrees_with_itself(method, same, other)


@pytest.mark.parametrize("method", [*CATEGORICAL, *BINARY])
def test_a_categorical_method_detects_planted_drift_and_nothing_else(method: str) -> None:
    chance = np.random.default_rng(7)
    names = ["a", "b"] if method in BINARY else ["a", "b", "c"]
    rest = [0.1] * (len(names) - 1)
    rows = 120 if method == "TVD" else 600  # it draws each row a thousand times
    reference, calm = np.resize(names, rows), np.resize(names, rows)
    moved = chance.choice(names, rows, p=[1 - sum(rest), *rest])
    same = _test(method, calm, reference, categorical=True, threshold=None)
    other = _test(method, moved, reference, categorical=True, threshold=None)
    _agrees_with_itself(method, same, other)


@pytest.mark.parametrize("method", ["g_test", "fisher_exact"])
def test_a_method_that_needs_equally_many_rows_states_it(method: str) -> None:
    tests = [
        ColumnTest("x", categorical=True, method=method, threshold=None),
        ColumnTest("y", categorical=True, method="jensenshannon", threshold=None),
    ]
    frames = [pd.DataFrame({name: np.resize(["a", "b"], n) for name in "xy"}) for n in (50, 100)]
    outcomes = evidently_adapter.test_columns(tests, *frames)
    assert str(outcomes["x"]).startswith("could not be tested: ")
    assert isinstance(outcomes["y"], ColumnDrift)


def test_every_p_value_method_exists_in_evidently() -> None:
    from evidently.legacy.calculations.stattests import registry as evidently_methods  # noqa: PLC0415 - after the adapter

    known = set(evidently_methods._registered_stat_tests)  # noqa: SLF001  # Evidently has no public list
    assert known >= evidently_adapter.P_VALUES
    assert {*NUMERIC, *CATEGORICAL, *BINARY} <= known


def test_the_manifests_method_and_threshold_are_used(baseline: Baseline, window: Draw) -> None:
    calm = window()
    chosen = _like(baseline, drift_methods={"price": "ks"}, drift_thresholds={"price": 0.01})
    price = _drift(chosen, calm)["price"]
    assert (price.method, price.threshold, price.breached) == ("ks", 0.01, False)
    assert price.value is not None
    assert price.value > 0.01
    shifted = calm.assign(price=calm["price"].map(lambda p: None if p is None else p + 1.0))
    price = _drift(chosen, shifted)["price"]
    assert price.breached
    assert price.value is not None
    assert price.value < 0.01


def test_a_method_without_a_threshold_is_calibrated_too(baseline: Baseline, window: Draw) -> None:
    chosen = _like(baseline, drift_methods={"price": "ks", "colour": "psi"})
    drift = _drift(chosen, window())
    assert drift["price"].threshold is not None
    assert drift["colour"].threshold is not None
    assert 0 < drift["price"].threshold <= 0.05, "never laxer than Evidently's own"
    assert drift["colour"].threshold >= 0.1
    assert not any(score.breached for score in drift.values())


def test_a_method_that_takes_too_long_to_calibrate_has_evidentlys_own_threshold(
    baseline: Baseline, window: Draw
) -> None:
    drift = _drift(_like(baseline, drift_methods={"price": "ed"}), window(100))
    assert drift["price"].threshold == 0.1


def test_a_stated_threshold_goes_with_the_default_method(baseline: Baseline, window: Draw) -> None:
    strict = _drift(_like(baseline, drift_thresholds={"price": 0.0}), window())["price"]
    assert (strict.method, strict.threshold) == ("wasserstein", 0.0)
    assert strict.breached, "whatever lies at or above the threshold has drifted"
    lax = _drift(_like(baseline, drift_thresholds={"price": 5.0}), window(price=99.0))["price"]
    assert lax.value is not None
    assert lax.value > 5.0, "a constant far away is far away"


def test_infinities_and_words_among_numbers_are_left_out_of_the_distance(
    baseline: Baseline, window: Draw
) -> None:
    calm = window()
    known = calm["price"].notna()
    prices = calm["price"].tolist()
    spoilt = ["much", math.inf, -math.inf, "Infinity", "-Infinity"]
    mixed = calm.assign(price=[*spoilt, *prices[5:]])
    without = calm.assign(price=[None] * 5 + prices[5:])
    assert known.sum() > 800
    assert _drift(baseline, mixed)["price"].value == _drift(baseline, without)["price"].value


def test_a_constant_column_is_scored_against_a_reference_that_varies(
    baseline: Baseline, window: Draw
) -> None:
    drift = _drift(baseline, window(price=0.0, colour="red"))
    assert drift["price"].breached
    assert drift["colour"].breached


def test_a_constant_column_states_that_it_is_constant(baseline: Baseline, window: Draw) -> None:
    constant = Baseline(baseline.version)
    constant.frame = constant.frame.assign(price=2.0)
    same = _drift(constant, window(price=2.0))["price"]
    assert (same.value, same.note) == (None, "constant, as in the reference")
    other = _drift(constant, window(price=3.0))["price"]
    assert other.breached


def test_numeric_categories_are_equal_whatever_their_type(baseline: Baseline, window: Draw) -> None:
    """The answers 0 and 1 come as integers, a reference of them may come back as floats."""
    calm = window()
    reported = _drift(baseline, calm)["prediction"].value
    for kind in (float, str, bool, np.int64, np.float32):
        frame = calm.assign(prediction=calm["prediction"].map(kind))
        assert _drift(baseline, frame)["prediction"].value == reported


def test_a_window_whose_columns_are_all_unscorable_is_still_reported(
    baseline: Baseline, window: Draw
) -> None:
    nothing = window(price=None, colour=None)
    scores = score_drift(baseline, DriftThresholds(baseline), nothing, None)
    (share,) = [score for score in scores if score.name == "drifted_share"]
    assert (share.value, share.breached) == (None, False)
    assert share.note == "no feature can be scored"
    missing = [s for s in score_quality(baseline, nothing) if s.name == "missing_share"]
    assert [score.value for score in missing] == [1.0, 1.0]
    assert all(score.breached for score in missing)


def test_quality_of_ten_rows_counted_by_hand(baseline: Baseline, window: Draw) -> None:
    low = baseline.frame["price"].min()
    high = baseline.frame["price"].max()
    prices = [None, None, None, low, high, low - 1, high + 1, high + 2, 0.0, 0.0]
    colours = ["red", "blue", "green", "Red", None, None, None, None, "red", "red"]
    frame = window(rows=10).assign(price=prices, colour=colours)
    reported = {(s.name, s.column): s for s in score_quality(baseline, frame)}
    assert reported["missing_share", "price"].value == 0.3
    assert reported["out_of_range_share", "price"].value == pytest.approx(3 / 7)
    assert reported["missing_share", "colour"].value == 0.4
    assert reported["unseen_share", "colour"].value == pytest.approx(2 / 6)
    assert reported["unseen_share", "colour"].threshold == 0.05
    own = baseline.frame["colour"].isna().mean()
    assert reported["missing_share", "colour"].threshold == pytest.approx(own + 0.05, abs=1e-6)


numbers = st.lists(st.floats(-100, 100, width=32), min_size=5, max_size=60)


@given(numbers, numbers, st.floats(0.5, 4), st.floats(-50, 50))
def test_the_earth_movers_distance_does_not_depend_on_units(
    reference: list[float], current: list[float], scale: float, shift: float
) -> None:
    first, second = np.array(reference, float), np.array(current, float)
    if first.std() < 0.1:
        return
    plain = wasserstein(first, second)
    moved = wasserstein(first * scale + shift, second * scale + shift)
    assert moved == pytest.approx(plain, rel=1e-6, abs=1e-9)
    assert wasserstein(first, first) == 0


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_the_distance_of_categories_is_symmetric_and_bounded(
    reference: list[int], current: list[int]
) -> None:
    first, second = np.array(reference), np.array(current)
    distance = jensenshannon(first, second)
    assert distance == pytest.approx(jensenshannon(second, first))
    assert -1e-9 <= distance <= math.sqrt(math.log(2)) + 1e-9
    assert jensenshannon(first, first) == pytest.approx(0, abs=1e-7)


def test_windows_without_drift_rarely_break_the_rule_and_drifted_windows_always_do(
    baseline: Baseline,
) -> None:
    """Two hundred windows of each size from the reference's own distribution, and moved ones."""
    thresholds = DriftThresholds(baseline)
    column = next(column for column in baseline.columns if column.name == "price")
    reference = baseline.frame["price"].dropna().to_numpy(dtype=float)
    chance = np.random.default_rng(12)
    for rows in (64, 300, 1000):
        limit = thresholds.threshold(column, rows)
        assert limit is not None
        calm = [wasserstein(reference, chance.normal(size=rows)) for _ in range(200)]
        moved = [wasserstein(reference, chance.normal(1.0, size=rows)) for _ in range(200)]
        assert sum(value >= limit for value in calm) <= 6
        assert all(value >= limit for value in moved)


def test_thresholds_are_the_same_in_every_process(baseline: Baseline) -> None:
    once, again = DriftThresholds(baseline), DriftThresholds(Baseline(baseline.version))
    for column in baseline.columns:
        for rows in (40, 100, 5000):
            assert once.threshold(column, rows) == again.threshold(column, rows)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_registration_knows_the_column_kinds_of_evidentlys_methods(kind: Kind) -> None:
    from evidently.legacy.calculations.stattests import registry as evidently_methods  # noqa: PLC0415 - after the adapter
    from evidently.legacy.core import ColumnType  # noqa: PLC0415

    wanted = {"numeric": ColumnType.Numerical, "categorical": ColumnType.Categorical}[kind]
    known = {name for name, by in evidently_methods._registered_stat_tests.items() if wanted in by}  # noqa: SLF001  # Evidently has no public list
    assert known - set(UNFIT_METHODS) == DRIFT_METHODS[kind]
    assert not set(UNFIT_METHODS) & DRIFT_METHODS[kind]


@pytest.mark.parametrize("method", sorted(set.union(*map(set, DRIFT_METHODS.values())) - {"TVD"}))
def test_every_accepted_method_scores_windows_of_any_size_deterministically(
    method: str,
) -> None:
    categorical = method not in DRIFT_METHODS["numeric"]
    chance = np.random.default_rng(8)
    sides = [
        pd.Series(chance.choice(list("ab"), rows) if categorical else chance.normal(size=rows))
        for rows in (900, 70)
    ]
    found = {
        evidently_adapter.measure(method, *sides, categorical=categorical).value for _ in range(2)
    }
    assert len(found) == 1
    assert all(np.isfinite(value) for value in found)


@pytest.mark.parametrize("method", sorted(UNFIT_METHODS))
def test_an_unusable_method_of_a_registered_version_states_why(
    baseline: Baseline, window: Draw, method: str
) -> None:
    column = "price" if method == "empirical_mmd" else "colour"
    found = _drift(_like(baseline, drift_methods={column: method}), window())
    assert (found[column].value, found[column].note) == (None, UNFIT_METHODS[method])
    assert all(score.value is not None for name, score in found.items() if name != column)
