"""Stuck features, duplicate rows, and changed types."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.results import Score
from monitoring.scoring.feature_values import FeatureTable, FeatureValues
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from registry.manifest import Feature

Draw = Callable[..., pd.DataFrame]

NUMBER, WORD = Feature("x", "numeric"), Feature("c", "categorical")


def _of(scores: list[Score], name: str, column: str) -> Score:
    (found,) = [score for score in scores if (score.name, score.column) == (name, column)]
    return found


def test_a_constant_feature_is_stuck_if_the_reference_varies(
    baseline: Baseline, window: Draw
) -> None:
    scores = score_quality(baseline, window(price=3.25))
    stuck = _of(scores, "distinct_values", "price")
    assert (stuck.value, stuck.breached) == (1.0, True)
    assert stuck.note.startswith("always 3.25; 2700 different values")
    assert not _of(scores, "distinct_values", "colour").breached


def test_a_common_value_can_fill_a_small_window(baseline: Baseline, window: Draw) -> None:
    few, many = window(30, colour="red"), window(60, colour="red")
    assert baseline.frame["colour"].dropna().value_counts(normalize=True)["red"] > 0.45
    assert not _of(score_quality(baseline, few[:20]), "distinct_values", "colour").breached
    assert _of(score_quality(baseline, many), "distinct_values", "colour").breached


def test_a_run_of_equal_values_is_measured_in_order_of_event_time(
    baseline: Baseline, window: Draw
) -> None:
    frame = window()
    chance = np.random.default_rng(1)
    order = chance.permutation(1000).tolist()
    prices = np.array(frame["price"], dtype=object)
    prices[order[300:420]] = 7.5
    scores = score_quality(baseline, frame.assign(price=prices), order)
    run = _of(scores, "longest_run", "price")
    assert (run.value, run.threshold, run.breached) == (120.0, 10.0, True)
    assert run.note == "7.5 in 120 rows in a row"
    assert not _of(scores, "longest_run", "colour").breached
    unordered = _of(score_quality(baseline, frame.assign(price=prices)), "longest_run", "price")
    assert unordered.value is not None
    assert unordered.value < 10


def test_windows_without_drift_are_not_stuck_and_have_usual_duplicates(
    baseline: Baseline,
) -> None:
    for seed in range(30):
        frame = baseline.frame.sample(500, random_state=seed).reset_index(drop=True)
        scores = score_quality(baseline, frame)
        assert [s for s in scores if s.breached] == []


def test_repeated_rows_exceed_the_references_duplicates(baseline: Baseline, window: Draw) -> None:
    frame = window(512)
    calm = _of(score_quality(baseline, frame), "duplicate_share", "")
    assert not calm.breached
    assert calm.value is not None
    assert calm.value < 0.11  # rows without a price are of three kinds
    twice = pd.concat([frame[:300], frame[:212]], ignore_index=True)
    repeated = _of(score_quality(baseline, twice), "duplicate_share", "")
    assert repeated.breached
    assert repeated.value is not None
    assert repeated.value > 0.4
    assert "reference 0.0" in repeated.note


@pytest.mark.parametrize(
    ("column", "values", "note"),
    [
        ("price", ["much"] * 400 + [1.5] * 600, "words where the reference has numbers"),
        ("price", ["1.5"] * 400 + [1.5] * 600, "words where the reference has numbers"),
        ("colour", [7] * 400 + ["red"] * 600, "numbers where the reference has words"),
        ("colour", ["7"] * 400 + ["red"] * 600, "numbers where the reference has words"),
    ],
)
def test_a_change_of_type_is_reported(
    baseline: Baseline, window: Draw, column: str, values: list[Any], note: str
) -> None:
    scores = score_quality(baseline, window(**{column: values}))
    changed = _of(scores, "type_change_share", column)
    assert (changed.value, changed.breached, changed.note) == (0.4, True, note)


def test_infinities_and_numbers_that_no_float_holds_are_out_of_range(
    baseline: Baseline, window: Draw
) -> None:
    prices: list[object] = [float("inf")] * 50 + ["-Infinity"] * 50 + [10**400] * 100
    prices += [2**63] * 100 + [0.5] * 700
    scores = score_quality(baseline, window(price=pd.Series(prices, dtype=object)))
    assert _of(scores, "out_of_range_share", "price").value == 0.3
    assert not _of(scores, "type_change_share", "price").breached


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0.0, -0.0, 1.5, float("inf"), "much", True]),
            st.sampled_from([None, "a", "1", 1, 1.0, True]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_equal_rows_have_the_same_fingerprint(
    rows: list[tuple[object, object]],
) -> None:
    frame = pd.DataFrame(rows, columns=["x", "c"], dtype=object)
    table = FeatureTable([NUMBER, WORD], frame)
    codes = list(zip(*(table[f].codes.tolist() for f in (NUMBER, WORD)), strict=True))
    reported = {tuple("-" if one != one else one for one in row) for row in codes}  # noqa: PLR0124
    assert len(np.unique(table.fingerprints)) == len(reported)


@given(st.lists(st.sampled_from([None, "", "a", 1, True, 2.5, 2**70, float("nan")])))
def test_any_feature_values_have_codes_and_shares(values: list[object]) -> None:
    for feature in (NUMBER, WORD):
        one = FeatureValues(feature, pd.Series(values, dtype=object))
        assert len(one.codes) == len(values)
        assert sum(one.kinds.values()) == pytest.approx(1 if one.kinds else 0)
