"""Limits that fulfil a stated budget: tails, drawn windows, joint drift."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from monitoring.scoring.drift.calibration import calibrate
from monitoring.scoring.drift.joint import JointDrift
from monitoring.scoring.drift.null_distribution import DRAWS, BlockBootstrap, NullDistribution
from monitoring.scoring.drift.statistics import BinnedColumn, jensenshannon, wasserstein
from monitoring.scoring.drift.tails import Tail
from monitoring.scoring.reference import Column

pytestmark = pytest.mark.untraced

LEVEL = 0.06


@pytest.mark.parametrize("shape", [stats.norm(), stats.expon(), stats.lognorm(0.5)])
def test_a_fitted_tail_extends_beyond_two_thousand_draws(shape: Any) -> None:
    tail = Tail(shape.rvs(DRAWS, random_state=1))
    for chance in (0.2, 0.01, 0.001, 0.0001):
        estimated = shape.sf(tail.value(-np.log(chance)))
        assert chance / 8 < estimated < chance * 8
        surprisal = tail.surprisal(np.array([shape.isf(chance)]))
        assert surprisal == pytest.approx(-np.log(chance), rel=0.45)


def test_a_constant_statistic_has_a_tail() -> None:
    tail = Tail(np.zeros(DRAWS))
    assert tail.value(9.0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("window", [64, 2_000])
def test_drawn_statistics_equal_statistics_of_the_drawn_rows(window: int) -> None:
    chance = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"n": chance.lognormal(0, 0.6, 3_000), "c": chance.choice(list("abcd"), 3_000)}
    )
    resampling = BlockBootstrap(len(frame), window)
    for name, kind, exact in (("n", "numeric", wasserstein), ("c", "categorical", jensenshannon)):
        bins = BinnedColumn(frame[name], Column(name, kind, name))  # type: ignore[arg-type]
        sums, references = resampling.sums(bins.one_hot())
        estimated = bins.distance(sums, np.repeat(references, resampling.windows, axis=0))
        values = bins.codes if kind == "categorical" else frame[name].to_numpy()
        for draw in range(0, DRAWS, 400):
            rows, beside = resampling.rows(draw)
            assert len(rows) == pytest.approx(window, rel=0.05)
            assert estimated[draw] == pytest.approx(exact(values[beside], values[rows]), rel=0.15)


def _columns(chance: np.random.Generator, count: int, **how: float) -> dict[str, NullDistribution]:
    return {
        f"c{place}": NullDistribution(chance.exponential(size=DRAWS), 0.0, **how)  # type: ignore[arg-type]
        for place in range(count)
    }


def _broken(columns: int, share: float, limits: Any, chance: np.random.Generator) -> float:
    """How many fresh windows break the rule."""
    fresh = chance.exponential(size=(20_000, columns))
    drifted, alone = (
        np.array([which[f"c{place}"] for place in range(columns)])
        for which in (limits.drifted, limits.alone)
    )
    shared = (fresh >= drifted).mean(axis=1) >= share
    return float((shared | (fresh >= alone).any(axis=1)).mean())


@pytest.mark.parametrize("columns", [1, 5, 30])
def test_fresh_windows_break_the_rule_at_the_level(columns: int) -> None:
    chance = np.random.default_rng(2)
    drawn = _columns(chance, columns, shared=True)
    limits = calibrate(drawn, None, share=0.3, level=LEVEL, windows=4, consecutive=2)
    assert limits.met
    assert _broken(columns, 0.3, limits, chance) == pytest.approx(LEVEL, rel=0.35)


def test_a_rare_level_is_reached_by_extrapolation() -> None:
    chance = np.random.default_rng(4)
    limits = calibrate(_columns(chance, 20), None, share=0.3, level=0.001, windows=4, consecutive=1)
    assert 0.0002 < _broken(20, 0.3, limits, chance) < 0.004


def test_user_limits_are_kept_and_reported_if_they_exceed_the_budget() -> None:
    chance = np.random.default_rng(5)
    columns = _columns(chance, 3, shared=True)
    for limit, met in ((0.5, False), (12.0, True)):
        first = NullDistribution(columns["c0"].values, 0.0, shared=True, fixed=limit)
        found = calibrate(
            columns | {"c0": first}, None, share=0.3, level=LEVEL, windows=4, consecutive=2
        )
        assert (found.drifted["c0"], found.met) == (limit, met)


def test_a_difference_below_the_floor_never_counts() -> None:
    chance = np.random.default_rng(6)
    columns = {"x": NullDistribution(chance.exponential(0.001, DRAWS), 0.1, 0.25, shared=True)}
    limits = calibrate(columns, None, share=0.3, level=LEVEL, windows=4, consecutive=2)
    assert (limits.drifted["x"], limits.alone["x"]) == (0.1, 0.25)


@pytest.mark.parametrize("consecutive", [1, 2, 3])
@pytest.mark.parametrize("shared", [0.0, 0.4])
def test_consecutive_windows_break_the_rule_at_the_stated_level(
    consecutive: int, shared: float
) -> None:
    chance = np.random.default_rng(12)

    def drawn(references: int, windows: int) -> np.ndarray[Any, Any]:
        common, own = chance.normal(size=(references, 1)), chance.normal(size=(references, windows))
        return np.sqrt(shared) * common + np.sqrt(1 - shared) * own

    columns = {"x": NullDistribution(drawn(DRAWS // 4, 4).ravel(), -9.0, -9.0)}
    limits = calibrate(columns, None, share=0.3, level=LEVEL, windows=4, consecutive=consecutive)
    in_a_row = (drawn(40_000, consecutive) >= limits.alone["x"]).all(axis=1).mean()
    assert float(in_a_row ** (1 / consecutive)) == pytest.approx(LEVEL, rel=0.35)


def _pair(chance: np.random.Generator, rows: int, correlation: float) -> pd.DataFrame:
    first, second = chance.normal(size=(2, rows))
    mixed = correlation * first + np.sqrt(1 - correlation**2) * second
    return pd.DataFrame({"a": first, "b": mixed, "c": chance.normal(size=rows)})


COLUMNS = [Column(name, "numeric", name) for name in "abc"]


@pytest.mark.parametrize(("before", "now"), [(0.8, 0.0), (0.8, -0.8), (0.0, 0.7)])
def test_changed_correlations_are_named(before: float, now: float) -> None:
    chance = np.random.default_rng(7)
    together = JointDrift(_pair(chance, 4_000, before), COLUMNS)
    usual = together.drawn(BlockBootstrap(4_000, 500)).std(axis=0)
    apart = together.of_window(_pair(chance, 500, now)) - together.of_reference
    most = int(np.argmax(np.abs(apart) / usual))
    change = together.change(most, float(together.of_window(_pair(chance, 500, now))[most]))
    assert change.columns in {("a", "b"), ()}
    assert np.abs(apart[0]) / usual[0] > 8
    calm = together.of_window(_pair(chance, 500, before)) - together.of_reference
    assert (np.abs(calm) / usual).max() < 4


def test_the_reconstruction_error_grows_if_rows_leave_the_references_directions() -> None:
    chance = np.random.default_rng(8)
    together = JointDrift(_pair(chance, 4_000, 0.95), COLUMNS)
    assert together.of_reference[-1] == pytest.approx(1)
    assert together.of_window(_pair(chance, 500, -0.95))[-1] > 5


def test_fresh_rows_have_the_same_reconstruction_error_as_the_reference() -> None:
    chance = np.random.default_rng(10)
    columns = [Column(f"x{place}", "numeric", f"x{place}") for place in range(20)]

    def draw(rows: int) -> pd.DataFrame:
        return pd.DataFrame({column.name: chance.normal(size=rows) for column in columns})

    errors = []
    for _ in range(10):
        together = JointDrift(draw(800), columns)
        assert together.of_reference[-1] == pytest.approx(1)
        errors.append(together.of_window(draw(4_000))[-1])
    drawn = together.drawn(BlockBootstrap(800, 4_000))[:, -1]
    assert np.mean(errors) == pytest.approx(1, abs=0.03)
    assert np.std(errors) < 1.5 * np.std(drawn), "drawn references err as much as real ones"


def test_joint_drift_needs_some_reference_rows_per_column() -> None:
    chance = np.random.default_rng(11)
    columns = [Column(f"x{place}", "numeric", f"x{place}") for place in range(30)]
    rows = {column.name: chance.normal(size=169) for column in columns}
    together = JointDrift(pd.DataFrame(rows), columns)
    assert not together.possible
    assert together.reason == (
        "not enough reference rows: 169 for 30 encoded columns, at least 1,200 are needed"
    )


def test_correlations_equal_numpys() -> None:
    chance = np.random.default_rng(9)
    frame = _pair(chance, 2_000, 0.6).assign(c=chance.choice(["x", "y"], 2_000))
    kinds = ["numeric", "numeric", "categorical"]
    columns = [Column(n, k, n) for n, k in zip("abc", kinds, strict=True)]  # type: ignore[arg-type]
    estimated = JointDrift(frame, columns).of_reference
    ranks = [stats.norm.ppf((frame[name].rank() - 0.5) / 2_000) for name in "ab"]
    assert estimated[0] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-6)
    commonest = (frame["c"] == frame["c"].value_counts().index[0]).astype(float)
    assert estimated[1] == pytest.approx(np.corrcoef(ranks[0], commonest)[0, 1], abs=1e-6)
