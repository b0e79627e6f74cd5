"""Serve with a bare ASGI callable, the lower bound of REST: no batching, log or validation."""

import os
from typing import Any

import msgspec
import numpy as np
import onnxruntime

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_session = onnxruntime.InferenceSession(
    os.environ["COMPARE_MODEL"], _options, providers=["CPUExecutionProvider"]
)
_JSON_LENGTH = b"inference-header-content-length"
_JSON = [(b"content-type", b"application/json")]
_BYTES = (b"content-type", b"application/octet-stream")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Respond to any POST with the model's outputs, and to any other request with 200."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    if message.get("more_body"):
        body = bytearray(body)
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
    length = next((int(value) for name, value in scope["headers"] if name == _JSON_LENGTH), None)
    headers, answer = (_JSON, b"{}") if not body else _answer(body, length)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def _answer(body: bytes, length: int | None) -> tuple[list[tuple[bytes, bytes]], bytes]:
    if length is not None:
        return _binary(body, length)
    (tensor,) = msgspec.json.decode(body)["inputs"]
    data = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    label, probabilities = _session.run(None, {tensor["name"]: data})
    outputs = [
        {**_described("label", "INT64", label), "data": label.tolist()},
        {
            **_described("probabilities", "FP32", probabilities),
            "data": probabilities.ravel().tolist(),
        },
    ]
    return _JSON, msgspec.json.encode(
        {"model_name": "bare", "model_version": "1", "outputs": outputs}
    )


def _binary(body: bytes, length: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    (tensor,) = msgspec.json.decode(memoryview(body)[:length])["inputs"]
    data = np.frombuffer(body, np.float32, offset=length).reshape(tensor["shape"])
    label, probabilities = _session.run(None, {tensor["name"]: data})
    outputs = [
        {**_described("label", "INT64", label), "parameters": {"binary_data_size": label.nbytes}},
        {
            **_described("probabilities", "FP32", probabilities),
            "parameters": {"binary_data_size": probabilities.nbytes},
        },
    ]
    head = msgspec.json.encode({"model_name": "bare", "model_version": "1", "outputs": outputs})
    headers = [_BYTES, (_JSON_LENGTH, b"%d" % len(head))]
    return headers, b"".join((head, label.tobytes(), probabilities.tobytes()))


def _described(name: str, datatype: str, array: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": array.shape}
