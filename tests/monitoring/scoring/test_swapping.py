"""Values mapped to the reference's distribution with the smallest change."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.scoring.drift.statistics import wasserstein
from monitoring.scoring.parity.drift_effect import restore_categories, restore_numbers

numbers = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=60
)
categories = st.lists(st.sampled_from([None, "a", "b", 1, 1.0, True]), min_size=1, max_size=60)


def test_shifted_numbers_are_mapped_back_in_their_order() -> None:
    chance = np.random.default_rng(4)
    expected = chance.normal(size=3000)
    shifted = chance.normal(2, 3, size=800)
    back = restore_numbers(shifted, expected, nullable=True)
    assert wasserstein(expected, back) < 0.02
    assert np.all(np.diff(back[np.argsort(shifted)]) >= 0)


def test_numbers_without_drift_hardly_change() -> None:
    chance = np.random.default_rng(5)
    expected = chance.normal(size=3000)
    calm = chance.choice(expected, 1000, replace=False)
    assert np.abs(restore_numbers(calm, expected, nullable=True) - calm).mean() < 0.1
    shuffled = chance.permutation(expected)
    assert restore_numbers(shuffled, expected, nullable=True) == pytest.approx(shuffled)


def test_too_many_missing_numbers_are_filled_and_too_few_made_missing() -> None:
    expected = np.append(np.arange(90.0), [np.nan] * 10)
    gone = np.array([np.nan] * 60 + [5.0] * 40)
    assert np.isnan(restore_numbers(gone, expected, nullable=True)).sum() == 10
    there = np.arange(100.0)
    assert np.isnan(restore_numbers(there, expected, nullable=True)).sum() == 10
    assert np.isnan(restore_numbers(there, expected, nullable=False)).sum() == 0


def test_as_few_categories_as_possible_change() -> None:
    expected = pd.Series(["a"] * 50 + ["b"] * 30 + [None] * 20, dtype=object)
    now = ["a"] * 80 + ["z"] * 20
    back = restore_categories(now, expected, nullable=True)
    assert [back.count(one) for one in ("a", "b", None, "z")] == [50, 30, 20, 0]
    assert sum(was != after for was, after in zip(now, back, strict=True)) == 50
    never = restore_categories(now, expected, nullable=False)
    assert never.count(None) == 0


@given(numbers, numbers, st.booleans())
def test_swapped_numbers_are_the_references(
    values: list[float], expected: list[float], nullable: bool
) -> None:
    given_, known = np.array(values), np.array(expected)
    back = restore_numbers(given_, known, nullable=nullable)
    assert len(back) == len(values)
    assert np.array_equal(back, restore_numbers(given_, known, nullable=nullable), equal_nan=True)
    if not np.isnan(known).all():
        assert set(back[~np.isnan(back)]) <= set(known)


@given(categories, categories)
def test_swapped_categories_have_the_references_shares(
    values: list[object], expected: list[object]
) -> None:
    back = restore_categories(values, pd.Series(expected, dtype=object), nullable=True)
    assert len(back) == len(values)
    for name in ("a", "b", None):
        share = expected.count(name) / len(expected) * len(values)
        assert abs(back.count(name) - share) < 1
