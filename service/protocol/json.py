"""JSON codec of the Open Inference Protocol.

Values are a flat list, or lists nested like the shape. A missing number is null or "NaN".
Infinities are "Infinity" and "-Infinity". A number that does not fit the datatype is refused.
"""

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from eventlog.events import Tensor
from registry.datatypes import NUMPY
from service.errors import InvalidRequest
from service.protocol.messages import Array, InferRequest, RequestTensor

_Parameter = str | int | float | bool | None  # only scalars, as in protobuf
_MANY_BYTES = 65_536  # length of JSON above which values are counted before decoding
_WORDS = Literal["NaN", "Infinity", "-Infinity"]
_FLOAT_LIMITS = {  # maximum numbers that do not round to infinity
    "FP16": 65_519.0,
    "BF16": 3.3961775292304e38,
    "FP32": 3.4028235677973362e38,
    "FP64": sys.float_info.max,
}


class JsonTensor(msgspec.Struct):
    """An input with values in JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, _Parameter] | None = None

    def array(self) -> Array:
        """Return the values in the stated shape; raises InvalidRequest if they do not fit."""
        if not self.data:
            self._refuse_without_data()
        data = bytes(self.data)
        if len(data) > _MANY_BYTES:
            self._check_count(data)
        nested = self._is_nested(data)
        try:
            values = _decoder(self.datatype, len(self.shape) if nested else 1).decode(data)
            array = _array(values, self.datatype)
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, ValueError) as error:
            raise InvalidRequest(
                f"data does not have {self.datatype} values of shape {self.shape}: {error}",
                tensor=self.name,
            ) from None
        return self._shaped(array, nested=nested)

    def _check_count(self, data: bytes) -> None:
        """Refuse data with more values than the shape, before the values are decoded."""
        expected = prod(self.shape)
        if self.datatype != "BYTES" and (values := data.count(b",") + 1) > expected > 0:
            raise InvalidRequest(
                f"data has {values} values; shape {self.shape} needs {expected}", tensor=self.name
            )

    @property
    def raw_json(self) -> msgspec.Raw | None:
        """The raw JSON of the values; None if values are nested, text or missing."""
        data = bytes(self.data)
        return None if b'"' in data or b"n" in data or self._is_nested(data) else self.data

    def _is_nested(self, data: bytes) -> bool:
        return len(self.shape) > 1 and data[1:].lstrip()[:1] == b"["

    def _shaped(self, array: Array, *, nested: bool) -> Array:
        if nested and list(array.shape) != self.shape:
            raise InvalidRequest(
                f"data is nested like shape {list(array.shape)}; expected shape {self.shape}",
                tensor=self.name,
            )
        if array.size != prod(self.shape):
            raise InvalidRequest(
                f"data has {array.size} values; shape {self.shape} needs {prod(self.shape)}",
                tensor=self.name,
            )
        return array if array.ndim == len(self.shape) else array.reshape(self.shape)

    def _refuse_without_data(self) -> None:
        if "binary_data_size" in (self.parameters or {}):
            raise InvalidRequest(
                "has binary_data_size, but the request has no header "
                "Inference-Header-Content-Length; expected this header with the length of the JSON",
                tensor=self.name,
            )
        raise InvalidRequest("has no data; expected a list of values", tensor=self.name)


class _OutputParameters(msgspec.Struct, frozen=True):
    binary_data: bool | None = None
    classification: int | None = None


_NO_PARAMETERS = _OutputParameters()


class _RequestedOutput(msgspec.Struct, frozen=True):
    name: str
    parameters: _OutputParameters | None = None


class JsonRequest(msgspec.Struct):
    """The JSON of a request; the values of its tensors are not decoded yet."""

    inputs: list[JsonTensor]
    id: str | None = None
    outputs: list[_RequestedOutput] | None = None
    parameters: dict[str, _Parameter] | None = None

    def with_inputs(self, tensors: Sequence[RequestTensor]) -> InferRequest:
        """Return the request with `tensors` as its inputs."""
        request_id, parameters = self.id or "", self.parameters or {}
        raw = parameters.get("binary_data_output") is True
        if not self.outputs:
            return InferRequest(request_id, tensors, [], parameters, raw)
        requested = {output.name: output.parameters or _NO_PARAMETERS for output in self.outputs}
        return InferRequest(
            request_id,
            tensors,
            list(requested),
            parameters,
            raw,
            as_raw={n: p.binary_data for n, p in requested.items() if p.binary_data is not None},
            classes={
                n: p.classification for n, p in requested.items() if p.classification is not None
            },
        )


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """An output with its values or its number of raw bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] = {}


class JsonResponse(msgspec.Struct, omit_defaults=True):
    """The JSON of a response."""

    model_name: str
    model_version: str
    parameters: dict[str, Any]
    outputs: list[OutputTensor]
    id: str = ""


_requests = msgspec.json.Decoder(JsonRequest)
# Group 1 is a string, which stays unchanged; group 2 is NaN or an infinity without quotes.
_BARE = re.compile(rb'("(?:[^"\\]|\\.)*")|(-?\b(?:NaN|Infinity)\b)', re.DOTALL)
_WORD = re.compile(rb'"(?:-?NaN|-?Infinity)"')
encode = msgspec.json.Encoder().encode


def decode_request(body: bytes) -> InferRequest:
    """Decode a JSON body; raises InvalidRequest."""
    request = read_json(body)
    return request.with_inputs(request.inputs)


def read_json(body: bytes) -> JsonRequest:
    """Decode the JSON of a request; raises InvalidRequest."""
    if not body:
        raise InvalidRequest('the body is empty; expected JSON like {"inputs": [...]}')
    try:
        try:
            return _requests.decode(body)
        except msgspec.DecodeError:
            quoted = _quote_bare_numbers(body)
            if quoted is None:
                raise
            return _checked(_requests.decode(quoted))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not an inference request in JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


class _RequestParameters(msgspec.Struct):
    """The parameters of a request, which its event needs even if the rest is invalid."""

    parameters: dict[str, Any] | None = None


_parameters = msgspec.json.Decoder(_RequestParameters)


def read_parameters(body: bytes) -> dict[str, Any]:
    """Read the parameters of a request that could not be decoded; raises InvalidRequest."""
    try:
        try:
            return _parameters.decode(body).parameters or {}
        except msgspec.DecodeError:
            return _parameters.decode(_quote_bare_numbers(body) or b"").parameters or {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("the body has no readable parameters") from None


def _quote_bare_numbers(body: bytes) -> bytes | None:
    """Return the body with quotes around NaN and infinities; None if all of them have quotes.

    Python's json module, tritonclient and BentoML's client omit the quotes, which is invalid JSON.
    """
    if b"NaN" not in body and b"Infinity" not in body:
        return None
    quoted, count = _BARE.subn(lambda match: match[1] or b'"%b"' % match[2], body)
    return quoted if count and quoted != body else None


def _checked(request: JsonRequest) -> JsonRequest:
    """Refuse the texts NaN and Infinity, because they may have been numbers without quotes."""
    for tensor in request.inputs:
        if tensor.datatype == "BYTES" and _WORD.search(bytes(tensor.data)):
            raise InvalidRequest(
                "a text value is NaN or Infinity, and the request also has NaN or Infinity without "
                "quotes; expected quotes around all of them",
                tensor=tensor.name,
            )
    return request


def encode_response(
    *,
    model: str,
    version: str,
    request_id: str,
    parameters: dict[str, Any],
    outputs: dict[str, Tensor],
) -> bytes:
    """Return the JSON body of a response."""
    tensors = [
        OutputTensor(name, tensor.datatype, tensor.shape, tensor.values())
        for name, tensor in outputs.items()
    ]
    return encode(JsonResponse(model, version, parameters, tensors, request_id))


def _array(values: list[Any], datatype: str) -> Array:
    if datatype != "BF16":
        return np.array(values, dtype=NUMPY[datatype])
    return np.array(values, dtype=np.float32).astype(NUMPY[datatype])


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
        return int  # NumPy checks the range, because msgspec's limits cannot exceed 64 bits
    limits = np.iinfo(NUMPY[datatype])
    return Annotated[int, msgspec.Meta(ge=int(limits.min), le=int(limits.max))]
