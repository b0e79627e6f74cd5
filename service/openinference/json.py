"""JSON <-> requests and answers of the Open Inference Protocol.

Values may lie flat or nested as the shape says. A missing number is null or "NaN"; infinities are
"Infinity" and "-Infinity". Numbers must fit the datatype: nothing is cut, wrapped or guessed.
"""

from functools import lru_cache
from math import prod
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from eventlog.events import Tensor
from registry.datatypes import NUMPY
from service.errors import InvalidRequest
from service.openinference.messages import Array, InferRequest

_WORDS = Literal["NaN", "Infinity", "-Infinity"]
_FLOAT_LIMITS = {  # beyond these a value would round to infinity
    "FP16": 65_519.0,
    "FP32": 3.4028235677973362e38,
    "FP64": float("inf"),
}


class JsonTensor(msgspec.Struct):
    """One input as JSON states it; its values are still JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] = {}

    def array(self) -> Array:
        """The values with the stated shape; raises InvalidRequest where they do not fit."""
        if not self.data:
            self._refuse_without_data()
        data = bytes(self.data)
        nested = len(self.shape) > 1 and data[1:].lstrip()[:1] == b"["
        try:
            values = _decoder(self.datatype, len(self.shape) if nested else 1).decode(data)
            array = np.array(values, dtype=NUMPY[self.datatype])
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, ValueError) as error:
            raise InvalidRequest(
                f"data does not hold {self.datatype} values of shape {self.shape}: {error}",
                tensor=self.name,
            ) from None
        return self._shaped(array, nested=nested)

    def _shaped(self, array: Array, *, nested: bool) -> Array:
        if nested and list(array.shape) != self.shape:
            raise InvalidRequest(
                f"data is nested as {list(array.shape)}; its shape says {self.shape}",
                tensor=self.name,
            )
        if array.size != prod(self.shape):
            raise InvalidRequest(
                f"data has {array.size} values; shape {self.shape} needs {prod(self.shape)}",
                tensor=self.name,
            )
        return array if array.ndim == len(self.shape) else array.reshape(self.shape)

    def _refuse_without_data(self) -> None:
        if "binary_data_size" in self.parameters:
            raise InvalidRequest(
                "binary data is not taken over REST; expected `data`, or gRPC", tensor=self.name
            )
        raise InvalidRequest("has no data; expected a list of values", tensor=self.name)


class _WantedOutput(msgspec.Struct):
    name: str


class _Request(msgspec.Struct):
    inputs: list[JsonTensor]
    id: str = ""
    outputs: list[_WantedOutput] = []
    parameters: dict[str, Any] = {}


class _OutputTensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class _Response(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    parameters: dict[str, Any]
    outputs: list[_OutputTensor]
    id: str = ""


_requests = msgspec.json.Decoder(_Request)
_encoder = msgspec.json.Encoder()


def decode_request(body: bytes) -> InferRequest:
    """The request that a JSON body states; raises InvalidRequest saying what is wrong with it."""
    if not body:
        raise InvalidRequest('the body is empty; expected JSON like {"inputs": [...]}')
    try:
        request = _requests.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not an inference request in JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    return InferRequest(
        request.id, request.inputs, [output.name for output in request.outputs], request.parameters
    )


def encode_response(
    *,
    model: str,
    version: str,
    request_id: str,
    parameters: dict[str, Any],
    outputs: dict[str, Tensor],
) -> bytes:
    """The JSON body of an answer."""
    tensors = [
        _OutputTensor(name, tensor.datatype, tensor.shape, tensor.data)
        for name, tensor in outputs.items()
    ]
    return _encoder.encode(_Response(model, version, parameters, tensors, request_id))


@lru_cache(maxsize=256)
def _decoder(datatype: str, depth: int) -> msgspec.json.Decoder[Any]:
    kind: Any = _values(datatype)
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _values(datatype: str) -> Any:
    if datatype in _FLOAT_LIMITS:
        limit = _FLOAT_LIMITS[datatype]
        return Annotated[float, msgspec.Meta(ge=-limit, le=limit)] | None | _WORDS
    if datatype == "BYTES":
        return str
    if datatype == "BOOL":
        return bool
    if datatype in {"INT64", "UINT64"}:
        return int  # msgspec's bounds end at 64 bits; NumPy refuses what does not fit
    limits = np.iinfo(NUMPY[datatype])
    return Annotated[int, msgspec.Meta(ge=int(limits.min), le=int(limits.max))]
