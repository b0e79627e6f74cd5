"""Protobuf of the Open Inference Protocol, typed and raw."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.datatypes import NUMPY
from service.errors import InvalidRequest
from service.protocol import open_inference_pb2 as pb
from service.protocol.protobuf import decode_request, encode_response
from tests.service.test_json_codec import typed_arrays


def _as_request(response: pb.ModelInferResponse) -> pb.ModelInferRequest:
    """An answer's tensors as a question: both lay them out alike."""
    request = pb.ModelInferRequest(raw_input_contents=response.raw_output_contents)
    for output in response.outputs:
        request.inputs.add().ParseFromString(output.SerializeToString())
    return request


@given(typed_arrays, st.booleans())
def test_every_array_survives_encoding_and_decoding(case: tuple[str, Any], raw: bool) -> None:
    datatype, array = case
    response = encode_response(
        model="m",
        version="1",
        request_id="id",
        parameters={"prediction_id": "p", "batch_rows": 3},
        outputs={"x": (datatype, array)},
        raw=raw,
    )
    assert response.parameters["prediction_id"].string_param == "p"
    assert response.parameters["batch_rows"].int64_param == 3
    request = decode_request(_as_request(response))
    assert request.raw == (raw or datatype in {"FP16", "BF16"})
    back = request.inputs[0].array()
    assert back.dtype == array.dtype
    if datatype == "BF16":  # whose NaN NumPy does not know
        back, array = back.view(np.uint16), array.view(np.uint16)
    np.testing.assert_array_equal(back, array)


def _one(datatype: str, shape: list[int], **fields: Any) -> pb.ModelInferRequest:
    contents = fields.pop("contents", None)
    request = pb.ModelInferRequest(**fields)
    request.inputs.add(name="x", datatype=datatype, shape=shape, contents=contents)
    return request


BROKEN = {
    "too few raw bytes": _one("FP32", [2], raw_input_contents=[b"\0" * 4]),
    "a string without its length": _one("BYTES", [1], raw_input_contents=[b"\1\0"]),
    "a string cut short": _one("BYTES", [1], raw_input_contents=[b"\5\0\0\0abc"]),
    "a string too many": _one("BYTES", [1], raw_input_contents=[b"\1\0\0\0a\1\0\0\0b"]),
    "a string that is no text": _one("BYTES", [1], raw_input_contents=[b"\1\0\0\0\xff"]),
    "more strings than bytes": _one("BYTES", [2**40], raw_input_contents=[b"\1\0\0\0a"]),
    "too few typed values": _one("INT64", [2], contents={"int64_contents": [1]}),
    "values in another field": _one("INT64", [1], contents={"int_contents": [1]}),
    "a value that does not fit": _one("INT8", [1], contents={"int_contents": [300]}),
    "typed contents that do not exist": _one("FP16", [1], contents={"fp32_contents": [1.0]}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_contents_of_a_wrong_size_are_refused(case: str) -> None:
    with pytest.raises(InvalidRequest, match="input 'x'"):
        decode_request(BROKEN[case]).inputs[0].array()


def test_raw_contents_are_given_for_all_inputs_or_none() -> None:
    with pytest.raises(InvalidRequest, match="has 2 tensors; expected 1, one for each input"):
        decode_request(_one("FP32", [1], raw_input_contents=[b"\0" * 4] * 2))


def test_any_byte_but_zero_is_true() -> None:
    request = decode_request(_one("BOOL", [3], raw_input_contents=[b"\x00\x01\x07"]))
    assert request.inputs[0].array().tolist() == [False, True, True]


def test_parameters_of_every_kind_are_read() -> None:
    request = pb.ModelInferRequest()
    request.parameters["a"].int64_param = 5
    request.parameters["b"].string_param = "s"
    request.parameters["c"].bool_param = True
    request.parameters["d"].SetInParent()
    assert decode_request(request).parameters == {"a": 5, "b": "s", "c": True, "d": None}


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("others", [["FP32"], ["BYTES", "INT64"], ["BOOL", "FP16"], []])
def test_raw_contents_are_returned_for_all_outputs_or_none(others: list[str], raw: bool) -> None:
    datatypes = ["FP16", *others]
    values = {"BYTES": np.array(["a"], np.object_)}
    outputs = {
        f"y{place}": (one, values.get(one, np.ones(1, NUMPY[one])))
        for place, one in enumerate(datatypes)
    }
    response = encode_response(
        model="m", version="1", request_id="", parameters={}, outputs=outputs, raw=raw
    )
    assert len(response.raw_output_contents) == len(outputs)
    assert not any(tensor.HasField("contents") for tensor in response.outputs)


def test_typed_and_raw_contents_together_are_refused() -> None:
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"\0\0\0\0"])
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(1.0)
    with pytest.raises(
        InvalidRequest, match="typed contents, but the request also has raw_input_contents"
    ):
        decode_request(message)
