"""Injected drift changes a reference exactly as its options state."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.errors import SettingError
from loadtests.drift import Drift, apply_drift, read_drift
from registry.manifest import Feature, Manifest, Prediction, Signature, TensorSpec

MANIFEST = Manifest(
    task="classification",
    features=[
        Feature("price", "numeric", nullable=True, input="price"),
        Feature("count", "numeric", input="count"),
        Feature("colour", "categorical", nullable=True, input="colour"),
        Feature("code", "categorical", input="code"),
    ],
    prediction=Prediction(label="label"),
    target="bought",
    held_out=True,
    signature=Signature(
        inputs=[
            TensorSpec("price", "FP32", [-1, 1]),
            TensorSpec("count", "INT8", [-1, 1]),
            TensorSpec("colour", "BYTES", [-1, 1]),
            TensorSpec("code", "INT64", [-1, 1]),
        ],
        outputs=[TensorSpec("label", "INT64", [-1])],
    ),
)
ROWS = 400
COLUMNS: dict[str, list[Any]] = {
    "price": [math.nan if n % 10 == 0 else float(n % 7) for n in range(ROWS)],
    "count": [n % 100 for n in range(ROWS)],
    "colour": [None if n % 8 == 0 else "red" for n in range(ROWS)],
    "code": [n % 3 for n in range(ROWS)],
}


def _drift(shift: str = "", mix: str = "", blank: str = "") -> Drift:
    return read_drift(shift, mix, blank, MANIFEST)


def test_a_shift_moves_the_mean_and_keeps_missing_values() -> None:
    after = apply_drift(COLUMNS, _drift(shift="price=1.5"), 1.0, MANIFEST)
    before, now = np.array(COLUMNS["price"]), np.array(after["price"])
    assert np.nanmean(now) - np.nanmean(before) == pytest.approx(1.5 * np.nanstd(before))
    assert (np.isnan(now) == np.isnan(before)).all()
    assert after["count"] == COLUMNS["count"]


def test_a_shifted_count_stays_a_valid_count() -> None:
    after = apply_drift(COLUMNS, _drift(shift="count=3"), 1.0, MANIFEST)
    assert all(isinstance(value, int) and -128 <= value <= 127 for value in after["count"])
    assert max(after["count"]) == 127


def test_a_mix_sets_a_category_in_its_share_of_the_rows() -> None:
    after = apply_drift(COLUMNS, _drift(mix="colour=green:0.5, code=7:1"), 1.0, MANIFEST)
    assert after["colour"].count("green") / ROWS == pytest.approx(0.5, abs=0.1)
    assert set(after["colour"]) == {"green", "red", None}
    assert after["code"] == [7] * ROWS


def test_blanks_are_missing_values_of_the_columns_kind() -> None:
    after = apply_drift(COLUMNS, _drift(blank="price=1,colour=1"), 1.0, MANIFEST)
    assert all(math.isnan(value) for value in after["price"])
    assert after["colour"] == [None] * ROWS


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_strength_changes_the_same_rows_and_further_rows(one: float, other: float) -> None:
    less, more = sorted((one, other))
    drift = _drift(mix="colour=green:0.8")
    few = apply_drift(COLUMNS, drift, less, MANIFEST)["colour"]
    many = apply_drift(COLUMNS, drift, more, MANIFEST)["colour"]
    assert all(b == "green" for a, b in zip(few, many, strict=True) if a == "green")


def test_without_strength_nothing_changes() -> None:
    drift = _drift(shift="count=2", mix="colour=green:1", blank="colour=1")
    after = apply_drift(COLUMNS, drift, 0.0, MANIFEST)
    assert {name: after[name] for name in ("count", "colour", "code")} == {
        name: COLUMNS[name] for name in ("count", "colour", "code")
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shift": "age=1"}, "no feature 'age'; expected one of price, count, colour, code"),
        ({"shift": "price"}, "got 'price'; expected column=number"),
        ({"shift": "price=much"}, "got 'price=much'"),
        ({"shift": "colour=1"}, "'colour'.*expected a numeric feature"),
        ({"mix": "colour=green"}, "expected column=category:share"),
        ({"mix": "colour=green:1.5"}, "shares between 0 and 1"),
        ({"mix": "price=1:0.5"}, "'price'.*expected a categorical feature"),
        ({"blank": "count=0.5"}, "'count'.*expected a nullable feature"),
    ],
)
def test_an_impossible_drift_is_refused_by_name(options: dict[str, str], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        _drift(**options)


def test_a_category_that_the_column_cannot_hold_is_refused() -> None:
    with pytest.raises(SettingError, match="'code' has values of type int"):
        apply_drift(COLUMNS, _drift(mix="code=red:1"), 1.0, MANIFEST)
