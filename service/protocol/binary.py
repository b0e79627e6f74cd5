"""The binary tensor data extension of REST: JSON, then the raw bytes of tensors in order.

The header Inference-Header-Content-Length states where the JSON ends. An input's `binary_data_size`
is its number of raw bytes. An output is sent raw if the request says so, for that output
(`binary_data`) or for all (`binary_data_output`).
"""

from typing import Any

from eventlog.events import Tensor
from service.errors import InvalidRequest
from service.protocol.json import (
    JsonRequest,
    JsonResponse,
    JsonTensor,
    OutputTensor,
    encode,
    read_json,
)
from service.protocol.messages import Array, InferRequest, RequestTensor
from service.protocol.raw import RawTensor, write_raw

HEADER = "inference-header-content-length"
_SIZE = "binary_data_size"
_MOST_DIGITS = 20  # Python itself refuses to read numbers of thousands


def decode_request(body: bytes, size_header: bytes) -> InferRequest:
    """Decode a body whose JSON has `size_header` bytes; raises InvalidRequest."""
    length = json_length(size_header, len(body))
    request = read_json(body[:length])
    return request.of(_tensors(request, body, length))


def encode_response(  # noqa: PLR0913 - one argument for each field of the answer
    *,
    model: str,
    version: str,
    request_id: str,
    parameters: dict[str, Any],
    outputs: dict[str, Tensor],
    raw: dict[str, Array],
) -> tuple[bytes, int]:
    """Return the body and the length of its JSON; `raw` holds the outputs to send as bytes."""
    parts: list[bytes] = []
    tensors: list[OutputTensor] = []
    for name, tensor in outputs.items():
        output = OutputTensor(name, tensor.datatype, tensor.shape)
        if name in raw:
            parts.append(write_raw(tensor.datatype, raw[name]))
            output.parameters = {_SIZE: len(parts[-1])}
        else:
            output.data = tensor.values()
        tensors.append(output)
    head = encode(JsonResponse(model, version, parameters, tensors, request_id))
    return b"".join([head, *parts]), len(head)


def json_length(size_header: bytes, size: int) -> int:
    """Return the end of the JSON in a body of `size` bytes; raises InvalidRequest."""
    if not size_header.isdigit() or len(size_header) > _MOST_DIGITS or int(size_header) > size:
        raise InvalidRequest(
            f"header {HEADER}: got {size_header.decode('latin-1')!r}; expected the number of bytes "
            f"of JSON, at most the {size} of the body"
        )
    return int(size_header)


def _tensors(request: JsonRequest, body: bytes, position: int) -> list[RequestTensor]:
    tensors: list[RequestTensor] = []
    for tensor in request.inputs:
        if _SIZE not in (tensor.parameters or {}):
            tensors.append(tensor)
            continue
        size = _size(tensor, len(body) - position)
        raw = memoryview(body)[position : position + size]
        tensors.append(RawTensor(tensor.name, tensor.datatype, tensor.shape, raw))
        position += size
    if position != len(body):
        raise InvalidRequest(
            f"{len(body) - position} bytes follow the last tensor; expected none: every "
            f"{_SIZE} together must fill the body after its JSON"
        )
    return tensors


def _size(tensor: JsonTensor, rest: int) -> int:
    size = (tensor.parameters or {}).get(_SIZE)
    if type(size) is not int or not 0 <= size <= rest:
        raise InvalidRequest(
            f"{_SIZE} is {size!r}; expected a number of bytes, at most the {rest} that are left",
            tensor=tensor.name,
        )
    return size
