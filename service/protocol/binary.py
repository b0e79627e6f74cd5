"""The binary tensor data extension of REST: a body of JSON and the tensors' raw bytes in order.

The header Inference-Header-Content-Length states the length of the JSON. An input's parameter
`binary_data_size` is its number of raw bytes. An output is sent as raw bytes if the request asks
for it, for this output (`binary_data`) or for all outputs (`binary_data_output`).
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
_MOST_DIGITS = 20  # because Python raises ValueError for numbers of thousands of digits


def decode_request(body: bytes, size_header: bytes) -> InferRequest:
    """Decode a body; `size_header` states the length of its JSON. Raises InvalidRequest."""
    length = json_length(size_header, len(body))
    request = read_json(body[:length])
    return request.with_inputs(_tensors(request, body, length))


def encode_response(  # noqa: PLR0913 - one argument for each field of the response
    *,
    model: str,
    version: str,
    request_id: str,
    parameters: dict[str, Any],
    outputs: dict[str, Tensor],
    raw: dict[str, Array],
) -> tuple[bytes, int]:
    """Return the body and the length of its JSON; outputs in `raw` are sent as raw bytes."""
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
    """Return the length of the JSON in a body of `size` bytes; raises InvalidRequest."""
    if not size_header.isdigit() or len(size_header) > _MOST_DIGITS or int(size_header) > size:
        raise InvalidRequest(
            f"header {HEADER}: got {size_header.decode('latin-1')!r}; expected the length of the "
            f"JSON in bytes, at most {size} (the length of the body)"
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
            f"{len(body) - position} bytes follow the last tensor; expected none: the sum of all "
            f"{_SIZE} must be the length of the body after its JSON"
        )
    return tensors


def _size(tensor: JsonTensor, rest: int) -> int:
    size = (tensor.parameters or {}).get(_SIZE)
    if type(size) is not int or not 0 <= size <= rest:
        raise InvalidRequest(
            f"{_SIZE} is {size!r}; expected a number of bytes, at most the remaining {rest}",
            tensor=tensor.name,
        )
    return size
