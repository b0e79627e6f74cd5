"""The floor: an ASGI callable around the same session, with no batching, log, metrics or checks."""

import os
from typing import Any

import msgspec
import numpy as np
import onnxruntime

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_session = onnxruntime.InferenceSession(
    os.environ["BARE_MODEL"], _options, providers=["CPUExecutionProvider"]
)
_HEADERS = [(b"content-type", b"application/json")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer any POST with the model's outputs; anything else with 200."""
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _answer(body) if body else b"{}"})


def _answer(body: bytes) -> bytes:
    (tensor,) = msgspec.json.decode(body)["inputs"]
    data = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    label, probabilities = _session.run(None, {tensor["name"]: data})
    outputs = [
        {"name": "label", "datatype": "INT64", "shape": label.shape, "data": label.tolist()},
        {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": probabilities.shape,
            "data": probabilities.ravel().tolist(),
        },
    ]
    return msgspec.json.encode({"model_name": "bench", "model_version": "1", "outputs": outputs})
