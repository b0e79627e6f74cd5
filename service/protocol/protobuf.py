"""Protobuf codec of the Open Inference Protocol, with typed or raw contents."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from registry.datatypes import NUMPY
from service.errors import InvalidRequest
from service.protocol import open_inference_pb2 as pb
from service.protocol.messages import Array, InferRequest
from service.protocol.raw import RawTensor, read_text, write_raw

_CONTENTS = {  # datatype -> its field of InferTensorContents
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class TypedTensor:
    """An input with values in `contents`."""

    raw_json = None

    def __init__(self, message: pb.ModelInferRequest.InferInputTensor) -> None:
        self.name = message.name
        self.datatype = message.datatype
        self.shape: Sequence[int] = message.shape
        self._contents = message.contents

    def array(self) -> Array:
        """Return the values in the stated shape; raises InvalidRequest if they do not fit."""
        field = _CONTENTS.get(self.datatype)
        if field is None:
            raise InvalidRequest(
                f"{self.datatype} has no typed contents; expected raw_input_contents",
                tensor=self.name,
            )
        values = getattr(self._contents, field)
        if len(values) != prod(self.shape):
            raise InvalidRequest(
                f"{field} has {len(values)} values; shape {list(self.shape)} needs "
                f"{prod(self.shape)}",
                tensor=self.name,
            )
        if self.datatype == "BYTES":
            values = [read_text(value, self.name) for value in values]
        try:
            array: Array = np.array(values, dtype=NUMPY[self.datatype])
        except OverflowError as error:
            raise InvalidRequest(
                f"expected values that fit {self.datatype}: {error}", tensor=self.name
            ) from None
        return array.reshape(tuple(self.shape))


def decode_request(message: pb.ModelInferRequest) -> InferRequest:
    """Decode a message; raises InvalidRequest."""
    inputs, raw = message.inputs, message.raw_input_contents
    if raw and len(raw) != len(inputs):
        raise InvalidRequest(
            f"raw_input_contents has {len(raw)} tensors; expected {len(inputs)}, one for each input"
        )
    tensors: list[RawTensor] | list[TypedTensor]
    if raw:
        for tensor in inputs:
            if tensor.HasField("contents"):
                raise InvalidRequest(
                    "has typed contents, but the request also has raw_input_contents; expected "
                    "only one of them for all inputs",
                    tensor=tensor.name,
                )
        tensors = [
            RawTensor(tensor.name, tensor.datatype, tensor.shape, data)
            for tensor, data in zip(inputs, raw, strict=True)
        ]
    else:
        tensors = [TypedTensor(tensor) for tensor in inputs]
    parameters = read_parameters(message)
    if not message.outputs:
        return InferRequest(message.id, tensors, [], parameters, bool(raw))
    requested = [output.name for output in message.outputs]
    classes = {
        output.name: output.parameters["classification"].int64_param
        for output in message.outputs
        if "classification" in output.parameters
    }
    return InferRequest(message.id, tensors, requested, parameters, bool(raw), classes=classes)


def read_parameters(message: pb.ModelInferRequest) -> dict[str, Any]:
    """Return the parameters of a message."""
    return {name: _parameter(value) for name, value in message.parameters.items()}


def encode_response(  # noqa: PLR0913  # one argument for each field of the message
    *,
    model: str,
    version: str,
    request_id: str,
    parameters: dict[str, Any],
    outputs: dict[str, tuple[str, Array]],
    raw: bool,
) -> pb.ModelInferResponse:
    """Return the message of a response; `outputs` maps names to datatype and array."""
    raw = raw or any(datatype not in _CONTENTS for datatype, _ in outputs.values())
    response = pb.ModelInferResponse(model_name=model, model_version=version, id=request_id)
    for name, value in parameters.items():
        if isinstance(value, str):
            response.parameters[name].string_param = value
        elif isinstance(value, bool):
            response.parameters[name].bool_param = value
        else:
            response.parameters[name].int64_param = value
    for name, (datatype, array) in outputs.items():
        tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw:
            response.raw_output_contents.append(write_raw(datatype, array))
        else:
            values = array.ravel().tolist()
            if datatype == "BYTES":
                values = [value.encode() for value in values]
            getattr(tensor.contents, _CONTENTS[datatype]).extend(values)
    return response


def _parameter(value: pb.InferParameter) -> Any:
    kind = value.WhichOneof("parameter_choice")
    return None if kind is None else getattr(value, kind)
