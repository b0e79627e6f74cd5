"""JSON codec of the Open Inference Protocol.

Values may be flat or nested as the shape states. A missing number is null or "NaN"; infinities are
"Infinity" and "-Infinity". Numbers must fit the datatype: nothing is truncated or wrapped.
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

_Parameter = str | int | float | bool | None  # scalars only, as in protobuf
_MANY_BYTES = 65_536  # bytes from which a tensor counts as large
_WORDS = Literal["NaN", "Infinity", "-Infinity"]
_FLOAT_LIMITS = {  # larger values would round to infinity
    "FP16": 65_519.0,
    "BF16": 3.3961775292304e38,
    "FP32": 3.4028235677973362e38,
    "FP64": sys.float_info.max,
}


class JsonTensor(msgspec.Struct):
    """One input whose values are still JSON."""

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
                f"data does not hold {self.datatype} values of shape {self.shape}: {error}",
                tensor=self.name,
            ) from None
        return self._shaped(array, nested=nested)

    def _check_count(self, data: bytes) -> None:
        """Refuse data with more values than the shape, before each becomes an object."""
        expected = prod(self.shape)
        if self.datatype != "BYTES" and (values := data.count(b",") + 1) > expected > 0:
            raise InvalidRequest(
                f"data has {values} values; shape {self.shape} needs {expected}", tensor=self.name
            )

    @property
    def sent(self) -> msgspec.Raw | None:
        """The raw JSON of the values; None if they are nested, text or missing."""
        data = bytes(self.data)  # valid JSON, as the decoder has read it
        return None if b'"' in data or b"n" in data or self._is_nested(data) else self.data

    def _is_nested(self, data: bytes) -> bool:
        return len(self.shape) > 1 and data[1:].lstrip()[:1] == b"["

    def _shaped(self, array: Array, *, nested: bool) -> Array:
        if nested and list(array.shape) != self.shape:
            raise InvalidRequest(
                f"data is nested as {list(array.shape)}; its shape is {self.shape}",
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
                "its binary_data_size refers to bytes after the JSON; expected the header "
                "Inference-Header-Content-Length to state where they begin",
                tensor=self.name,
            )
        raise InvalidRequest("has no data; expected a list of values", tensor=self.name)


class _OutputParameters(msgspec.Struct, frozen=True):
    binary_data: bool | None = None
    classification: int | None = None


_NOTHING_STATED = _OutputParameters()


class _WantedOutput(msgspec.Struct, frozen=True):
    name: str
    parameters: _OutputParameters | None = None


class JsonRequest(msgspec.Struct):
    """The JSON of a request, its tensors not decoded yet."""

    inputs: list[JsonTensor]
    id: str | None = None
    outputs: list[_WantedOutput] | None = None
    parameters: dict[str, _Parameter] | None = None

    def of(self, tensors: Sequence[RequestTensor]) -> InferRequest:
        """Return the request with `tensors` as its inputs."""
        request_id, parameters = self.id or "", self.parameters or {}
        raw = parameters.get("binary_data_output") is True
        if not self.outputs:
            return InferRequest(request_id, tensors, [], parameters, raw)
        selector = {output.name: output.parameters or _NOTHING_STATED for output in self.outputs}
        return InferRequest(
            request_id,
            tensors,
            list(selector),
            parameters,
            raw,
            as_raw={n: p.binary_data for n, p in selector.items() if p.binary_data is not None},
            classes={
                n: p.classification for n, p in selector.items() if p.classification is not None
            },
        )


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """One output: its values, or the number of its raw bytes."""

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
# A string, which stays as it is, or a bare word that stands for a number.
_BARE = re.compile(rb'("(?:[^"\\]|\\.)*")|(-?\b(?:NaN|Infinity)\b)', re.DOTALL)
_WORD = re.compile(rb'"(?:-?NaN|-?Infinity)"')
encode = msgspec.json.Encoder().encode


def decode_request(body: bytes) -> InferRequest:
    """Decode a JSON body; raises InvalidRequest."""
    request = read_json(body)
    return request.of(request.inputs)


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
    """The part of a request that its event records even if the rest is invalid."""

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
        raise InvalidRequest("the body states no parameters") from None


def _quote_bare_numbers(body: bytes) -> bytes | None:
    """Return the body with NaN and infinities as strings; None if it has none outside strings.

    Python's json module, tritonclient and BentoML's client write them bare, which is not JSON.
    """
    if b"NaN" not in body and b"Infinity" not in body:
        return None
    quoted, count = _BARE.subn(lambda match: match[1] or b'"%b"' % match[2], body)
    return quoted if count and quoted != body else None


def _checked(request: JsonRequest) -> JsonRequest:
    """Refuse text that is such a word: it may have been a bare number before quoting."""
    for tensor in request.inputs:
        if tensor.datatype == "BYTES" and _WORD.search(bytes(tensor.data)):
            raise InvalidRequest(
                "a text value is NaN or Infinity while the request has such a word without quotes; "
                "expected quotes around every one",
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
        return int  # msgspec's bounds end at 64 bits; NumPy refuses what does not fit
    limits = np.iinfo(NUMPY[datatype])
    return Annotated[int, msgspec.Meta(ge=int(limits.min), le=int(limits.max))]
