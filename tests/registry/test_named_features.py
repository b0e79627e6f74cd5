"""Conversion between named features and tensors."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventlog.events import Tensor
from registry.errors import InvalidFeatures, InvalidManifest
from registry.feature_tensors import to_columns, to_tensors
from registry.manifest import Feature, Manifest, Prediction, Signature, TensorSpec

MANIFEST = Manifest(
    task="classification",
    target="target",
    held_out=True,
    prediction=Prediction("label"),
    features=[
        Feature("age", "numeric", nullable=True, input="numbers", index=1),
        Feature("height", "numeric", input="numbers", index=0),
        Feature("grade", "categorical", nullable=True, input="numbers", index=2),
        Feature("city", "categorical", nullable=True, input="city"),
        Feature("floor", "categorical", input="floor"),
        Feature("flag", "numeric", input="flag"),
    ],
    signature=Signature(
        [
            TensorSpec("numbers", "FP32", [-1, 3]),
            TensorSpec("city", "BYTES", [-1, 1]),
            TensorSpec("floor", "INT8", [-1]),
            TensorSpec("flag", "BOOL", [-1, 1]),
        ],
        [],
    ),
)
ROW: dict[str, Any] = {
    "age": 40.5,
    "height": 180,
    "grade": 3,
    "city": "Porto",
    "floor": -1,
    "flag": True,
}


def columns(*rows: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [(ROW | row)[name] for row in rows] for name in ROW}


def sent(manifest: Manifest, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The arrays as an event carries them."""
    assert manifest.signature is not None
    return {
        spec.name: Tensor(
            spec.datatype,
            list(arrays[spec.name].shape),
            [None if v != v else v for v in arrays[spec.name].ravel().tolist()],  # noqa: PLR0124
        )
        for spec in manifest.signature.inputs
    }


def test_each_feature_goes_to_its_column_of_its_input() -> None:
    arrays = to_tensors(MANIFEST, columns({}, {"age": 20, "city": "Lyon"}))
    assert arrays["numbers"].tolist() == [[180, 40.5, 3], [180, 20, 3]]
    assert arrays["numbers"].dtype == np.float32
    assert arrays["city"].tolist() == [["Porto"], ["Lyon"]]
    assert arrays["floor"].tolist() == [-1, -1]
    assert arrays["floor"].dtype == np.int8
    assert arrays["flag"].shape == (2, 1)


def test_missing_values_are_nan_and_the_empty_string() -> None:
    arrays = to_tensors(MANIFEST, columns({"age": None, "city": None, "grade": float("nan")}))
    assert np.isnan(arrays["numbers"][0, 1:]).all()
    assert arrays["city"].tolist() == [[""]]


def test_missing_values_are_read_back_as_nan_and_none() -> None:
    arrays = to_tensors(MANIFEST, columns({"age": None, "city": None, "grade": None}))
    read = to_columns(MANIFEST, sent(MANIFEST, arrays))
    assert math.isnan(read["age"][0])
    assert read["city"] == [None]
    assert read["grade"] == [None]


def test_a_category_code_in_floats_is_read_back_as_an_integer() -> None:
    read = to_columns(MANIFEST, sent(MANIFEST, to_tensors(MANIFEST, columns({}))))
    assert read["grade"] == [3]
    assert type(read["grade"][0]) is int


rows = st.fixed_dictionaries(
    {
        "age": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
        "height": st.integers(-1000, 1000),
        "grade": st.none() | st.integers(0, 50),
        "city": st.none() | st.text(min_size=1),
        "floor": st.integers(-128, 127),
        "flag": st.booleans(),
    }
)


@given(st.lists(rows, min_size=1, max_size=8))
def test_features_survive_conversion_to_tensors_and_back(asked: list[dict[str, Any]]) -> None:
    read = to_columns(MANIFEST, sent(MANIFEST, to_tensors(MANIFEST, columns(*asked))))
    expected = columns(*asked)
    assert [None if math.isnan(age) else age for age in read.pop("age")] == expected.pop("age")
    assert read == expected


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ("height", None, "a number that fits FP32 (not null), got null"),
        ("height", float("nan"), "a number that fits FP32 (not null), got nan"),
        ("age", "tall", "a number that fits FP32 (or null), got 'tall'"),
        ("age", [1], "a number that fits FP32 (or null), got [1]"),
        ("age", 1e300, "a number that fits FP32 (or null), got 1e+300"),
        ("age", 10**400, "a number that fits FP32"),
        ("floor", 128, "a number that fits INT8 (not null), got 128"),
        ("floor", 1.5, "a number that fits INT8 (not null), got 1.5"),
        ("flag", 2, "a number that fits BOOL"),
        ("city", 7, "a string (or null), got 7"),
    ],
)
def test_an_invalid_value_is_named_by_row_and_feature(
    feature: str, value: Any, expected: str
) -> None:
    with pytest.raises(InvalidFeatures) as refused:
        to_tensors(MANIFEST, columns({}, {}, {feature: value}))
    assert f"row 2, feature {feature!r}: expected {expected}" in str(refused.value)


def test_a_long_value_does_not_make_a_long_message() -> None:
    with pytest.raises(InvalidFeatures) as refused:
        to_tensors(MANIFEST, columns({"age": "x" * 100_000}))
    assert len(str(refused.value)) < 200


def test_an_infinity_is_a_number() -> None:
    arrays = to_tensors(MANIFEST, columns({"age": float("inf")}))
    tensor = Tensor("FP32", [1, 3], [180.0, "Infinity", 3.0])
    assert arrays["numbers"][0, 1] == np.inf
    assert to_columns(MANIFEST, sent(MANIFEST, arrays) | {"numbers": tensor})["age"] == [np.inf]


def test_missing_features_are_named_with_the_expected_ones() -> None:
    given_columns = columns({})
    del given_columns["age"], given_columns["flag"]
    with pytest.raises(InvalidFeatures, match="missing features 'age', 'flag'; expected age, hei"):
        to_tensors(MANIFEST, given_columns)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidFeatures, match=r"same number of values.*'city': 2"):
        to_tensors(MANIFEST, columns({}) | {"city": ["a", "b"]})


def test_a_missing_input_names_the_feature_it_carries() -> None:
    arrived = sent(MANIFEST, to_tensors(MANIFEST, columns({})))
    del arrived["city"]
    with pytest.raises(InvalidFeatures, match="missing input 'city', expected for feature 'city'"):
        to_columns(MANIFEST, arrived)


def test_an_input_of_another_width_is_refused() -> None:
    arrived = sent(MANIFEST, to_tensors(MANIFEST, columns({})))
    arrived["numbers"] = Tensor("FP32", [1, 2], [1.0, 2.0])
    with pytest.raises(InvalidFeatures, match="'numbers': expected 3 values in each of 1 rows"):
        to_columns(MANIFEST, arrived)


def test_a_word_in_a_numeric_input_is_refused() -> None:
    arrived = sent(MANIFEST, to_tensors(MANIFEST, columns({})))
    arrived["numbers"] = Tensor("FP32", [1, 3], [180.0, "tall", 3.0])
    with pytest.raises(InvalidFeatures, match="feature 'age': expected a number, got 'tall'"):
        to_columns(MANIFEST, arrived)


def test_an_image_shaped_input_has_no_features() -> None:
    signature = Signature([TensorSpec("numbers", "FP32", [-1, 3, 224, 224])], [])
    manifest = Manifest(
        task="classification",
        target="t",
        held_out=True,
        prediction=Prediction("label"),
        features=[Feature("age", "numeric", input="numbers")],
        signature=signature,
    )
    with pytest.raises(InvalidManifest, match=r"\[N\], \[N, 1\] or \[N, k\]"):
        to_tensors(manifest, {"age": [1.0]})


WIDE = [
    (datatype, number)
    for datatype, numbers in {
        "INT64": [9_007_199_254_740_993, -(2**63), 2**63 - 1],
        "UINT64": [9_223_372_036_854_775_809, 2**64 - 1, 0],
        "INT32": [2**31 - 1, -(2**31)],
    }.items()
    for number in numbers
]
NEIGHBOURS = [1, 1.0, True, np.float32(2), np.uint8(3), np.int64(4)]


@pytest.mark.parametrize(("datatype", "number"), WIDE)
@pytest.mark.parametrize("neighbour", NEIGHBOURS, ids=lambda value: type(value).__name__)
def test_a_wide_integer_is_exact_next_to_other_numbers(
    datatype: str, number: int, neighbour: Any
) -> None:
    manifest = one_number(datatype)
    for values in ([number, neighbour], [neighbour, number]):
        array = to_tensors(manifest, {"x": values})["x"]
        assert [int(value) for value in array] == [int(value) for value in values]


@pytest.mark.parametrize("wrong", [0.5, -1, 2**64, float("inf"), float("nan"), None, "Infinity"])
def test_a_number_that_is_not_such_an_integer_is_refused_by_row(wrong: Any) -> None:
    with pytest.raises(InvalidFeatures, match="row 1, feature 'x'"):
        to_tensors(one_number("UINT64"), {"x": [2**64 - 1, wrong]})


def test_rows_state_infinities_as_strings() -> None:
    array = to_tensors(one_number("FP64"), {"x": ["Infinity", "-Infinity", 1]})["x"]
    assert array.tolist() == [np.inf, -np.inf, 1.0]


def one_number(datatype: str) -> Manifest:
    tensor = TensorSpec("x", datatype, [-1])
    return replace(
        MANIFEST,
        features=[Feature("x", kind="numeric", input="x")],
        signature=Signature(inputs=[tensor], outputs=[]),
    )


@pytest.mark.parametrize(
    ("datatype", "values", "read"),
    [
        ("BF16", [1.5, -2, True], [1.5, -2.0, 1.0]),
        ("BF16", ["Infinity"], [math.inf]),
        ("BF16", [3.4e38], None),
        ("FP32", [2**70], None),  # no event holds integers beyond 64 bits
        ("FP32", [1e39], None),
        ("UINT8", [255.0, True, 0], [255, 1, 0]),
        ("UINT64", [2**64 - 1, 1.0], [2**64 - 1, 1]),
        ("INT64", [9_007_199_254_740_993, 1.0, True], [9_007_199_254_740_993, 1, 1]),
        ("INT64", [1.5], None),
        ("INT64", ["1"], None),
    ],
)
def test_numbers_of_any_mix_are_exact_or_refused_by_row(
    datatype: str, values: list[Any], read: list[Any] | None
) -> None:
    manifest = Manifest(
        features=[Feature("a", "numeric", input="x")],
        signature=Signature([TensorSpec("x", datatype, [-1, 1])], []),
    )
    if read is None:
        with pytest.raises(InvalidFeatures, match=f"row 0, feature 'a': .* fits {datatype}"):
            to_tensors(manifest, {"a": values})
        return
    assert to_tensors(manifest, {"a": values})["x"].ravel().tolist() == read
