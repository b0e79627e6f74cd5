"""JSON of the Open Inference Protocol: round trips and refusals."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from registry.datatypes import NUMPY
from service.errors import InvalidRequest
from service.protocol.json import JsonTensor, decode_request, encode_response
from service.protocol.tensors import to_tensor

shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


def arrays(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        text = st.text(st.characters(codec="utf-8"))
        return hnp.arrays(object, shapes, elements=text, fill=st.nothing())
    if datatype == "BF16":  # Hypothesis does not know it
        return hnp.arrays(np.uint16, shapes).map(lambda bits: bits.view(NUMPY["BF16"]))
    return hnp.arrays(NUMPY[datatype], shapes)


typed_arrays = st.sampled_from(sorted(NUMPY)).flatmap(
    lambda datatype: st.tuples(st.just(datatype), arrays(datatype))
)


def _request(datatype: str, shape: list[int], data: Any) -> bytes:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    return msgspec.json.encode({"inputs": [tensor]})


def _read(body: bytes) -> Any:
    return decode_request(body).inputs[0].array()


@given(typed_arrays)
def test_every_array_survives_encoding_and_decoding(case: tuple[str, Any]) -> None:
    datatype, array = case
    body = encode_response(
        model="m",
        version="1",
        request_id="",
        parameters={},
        outputs={"x": to_tensor(datatype, array)},
    )
    answered = msgspec.json.decode(body)["outputs"][0]
    assert (answered["name"], answered["datatype"]) == ("x", datatype)
    back = _read(_request(datatype, answered["shape"], answered["data"]))
    assert back.dtype == array.dtype
    if datatype == "BF16":  # NumPy finds NaN equal to NaN in its own types only
        back, array = back.astype(np.float32), array.astype(np.float32)
    np.testing.assert_array_equal(back, array)


@given(hnp.arrays(np.int32, shapes))
def test_nested_values_equal_flat_values(array: Any) -> None:
    shape = list(array.shape)
    flat = _read(_request("INT32", shape, array.ravel().tolist()))
    np.testing.assert_array_equal(flat, _read(_request("INT32", shape, array.tolist())))


def test_missing_and_infinite_values_are_encoded_as_strings() -> None:
    array = _read(_request("FP32", [4], [None, "NaN", "Infinity", "-Infinity"]))
    np.testing.assert_array_equal(array, np.array([np.nan, np.nan, np.inf, -np.inf], np.float32))


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT8", 128),
        ("INT8", 1.0),
        ("UINT8", -1),
        ("INT64", 2**63),
        ("UINT64", -1),
        ("UINT64", 2**64),
        ("FP16", 70_000),
        ("FP32", 1e39),
        ("FP32", "1.5"),
        ("FP64", True),
        ("BOOL", 1),
        ("BYTES", 1),
        ("BYTES", None),
        ("INT32", [1]),
    ],
)
def test_a_value_that_does_not_fit_its_datatype_is_refused(datatype: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"input 'x': .*{datatype}"):
        _read(_request(datatype, [1], [value]))


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2], [1, 2, 3]),
        ([2, 2], [[1, 2], [3]]),
        ([2, 2], [[1, 2, 3, 4]]),
        ([2, 2], [[[1], [2]], [[3], [4]]]),
        ([4], [[1, 2], [3, 4]]),
        ([2], 3),
    ],
)
def test_values_that_do_not_fill_their_shape_are_refused(shape: list[int], data: Any) -> None:
    with pytest.raises(InvalidRequest, match="input 'x'"):
        _read(_request("INT64", shape, data))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_accepted_or_refused(body: bytes) -> None:
    try:
        request = decode_request(body)
    except InvalidRequest:
        return
    assert isinstance(request.inputs, list)


def test_binary_data_is_refused_with_a_clear_message() -> None:
    tensor = JsonTensor("x", [1], "FP32", parameters={"binary_data_size": 4})
    with pytest.raises(InvalidRequest, match="binary"):
        tensor.array()


def test_a_field_that_is_null_counts_as_absent() -> None:
    tensor = {"name": "x", "datatype": "INT64", "shape": [1], "data": [1], "parameters": None}
    wanted = [{"name": "y", "parameters": None}]
    body = {"inputs": [tensor], "id": None, "parameters": None}
    for outputs in (None, wanted):
        request = decode_request(msgspec.json.encode(body | {"outputs": outputs}))
        assert request.id == ""
        assert request.parameters == {}
        assert list(request.outputs) == ([] if outputs is None else ["y"])
        assert request.inputs[0].array().tolist() == [1]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_bare_nan_and_infinities_are_numbers_of_a_floating_point_tensor(datatype: str) -> None:
    tensor = {"name": "NaN", "datatype": datatype, "shape": [4]}
    tensor["data"] = [float("nan"), float("inf"), float("-inf"), 1.5]
    request = decode_request(json.dumps({"inputs": [tensor], "id": 'a "NaN" \\'}).encode())
    values = request.inputs[0].array().tolist()
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 1.5]
    assert request.id == 'a "NaN" \\'


@pytest.mark.parametrize("datatype", ["INT64", "BOOL", "BYTES"])
def test_bare_nan_is_refused_in_tensors_without_floats(datatype: str) -> None:
    tensor = {"name": "x", "datatype": datatype, "shape": [1], "data": [float("nan")]}
    with pytest.raises(InvalidRequest):
        decode_request(json.dumps({"inputs": [tensor]}).encode()).inputs[0].array()
