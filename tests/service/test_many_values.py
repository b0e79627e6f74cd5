"""Tensors of many numbers: logged as bytes, with equal values for every reader."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import wire
from eventlog.events import PredictionEvent, Tensor
from registry.datatypes import NUMPY
from registry.errors import InvalidFeatures
from registry.feature_tensors import to_columns
from registry.manifest import Feature, Manifest, Prediction, Signature, TensorSpec
from service.errors import InvalidRequest
from service.protocol.json import encode_response
from service.protocol.raw import RawTensor
from service.protocol.tensors import MANY, listed, raw_tensor, to_tensor
from service.protocol.validation import InputCheck
from tests.service.test_json_codec import arrays

WIDE = Manifest(
    task="regression",
    features=[
        Feature("first", "numeric", input="x", index=0),
        Feature("last", "numeric", nullable=True, input="x", index=MANY - 1),
    ],
    prediction=Prediction("y"),
    target="y",
    held_out=True,
    signature=Signature([TensorSpec("x", "FP32", [-1, MANY])], [TensorSpec("y", "FP32", [-1])]),
)


def _event(tensor: Tensor) -> Any:
    event = PredictionEvent(
        source="here-0", epoch=1, sequence=0, time=0, received=0, prediction_id="p", model="m",
        protocol="rest", outcome="ok", inputs={"x": tensor},
    )  # fmt: skip
    return wire.decode(wire.encode(event))


@given(
    st.sampled_from(sorted(set(NUMPY) - {"BYTES"})).flatmap(
        lambda name: st.tuples(st.just(name), arrays(name))
    )
)
def test_raw_numbers_equal_listed_numbers(case: tuple[str, Any]) -> None:
    datatype, array = case
    read = _event(raw_tensor(datatype, array)).inputs["x"]
    assert read.shape == list(array.shape)
    assert read.data == []
    assert read.values() == listed(array)


def test_many_numbers_are_logged_raw_and_few_as_text() -> None:
    assert to_tensor("FP32", np.zeros(MANY, np.float32)).raw
    assert to_tensor("FP32", np.zeros(MANY - 1, np.float32)).data == [0.0] * (MANY - 1)
    assert to_tensor("BYTES", np.array(["a"] * MANY, object)).data == ["a"] * MANY


def _checked(values: Any) -> Any:
    array = np.full((2, MANY), 0.5, np.float32)
    array[:, [0, -1]] = values
    raw = array.tobytes()
    return InputCheck(WIDE, 100).read([RawTensor("x", "FP32", [2, MANY], raw)])


def test_a_request_of_many_numbers_reaches_the_monitor_as_its_features() -> None:
    checked = _checked([[1.0, np.nan], [2.0, 3.0]])
    columns = to_columns(WIDE, _event(checked.tensors["x"]).inputs)
    assert columns["first"] == [1.0, 2.0]
    assert columns["last"][1] == 3.0
    assert np.isnan(columns["last"][0])


def test_a_missing_required_value_is_found_among_many_numbers() -> None:
    with pytest.raises(InvalidRequest, match="row 1, feature 'first' is nan"):
        _checked([[1.0, 1.0], [np.nan, 1.0]])


def test_many_numbers_are_returned_as_json_arrays() -> None:
    tensor = to_tensor("INT64", np.arange(MANY))
    body = encode_response(
        model="m", version="1", request_id="", parameters={}, outputs={"y": tensor}
    )
    assert b'"data":[0,1,2,' in body
    assert b"raw" not in body


@pytest.mark.parametrize(
    ("datatype", "raw", "why"),
    [("FP32", "AAA=", "2 bytes"), ("BYTES", "AAAA", "expected one of"), ("FP32", "?", "")],
)
def test_invalid_raw_values_are_refused_with_the_reason(datatype: str, raw: str, why: str) -> None:
    tensor = Tensor(datatype, [1, MANY], [], raw)
    with pytest.raises(InvalidFeatures, match=f"input 'x': .*{why}"):
        to_columns(WIDE, {"x": tensor})
