"""REST by raw bytes: JSON flat and nested, the binary extension, compressed bodies."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from registry.datatypes import NUMPY
from tests.conformance.cases import Case, CaseTensor
from tests.conformance.raw_bytes import from_raw, to_raw
from tests.conformance.ways import Endpoint, Refusal, Reply, Way, refusal


def _values(tensor: CaseTensor) -> list[Any]:
    words = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
    return [None if v != v else words.get(v, v) for v in tensor.values]  # noqa: PLR0124


def _nested(tensor: CaseTensor) -> Any:
    values: Any = _values(tensor)
    for size in tensor.shape[:0:-1]:
        if size > 0:
            values = [values[i : i + size] for i in range(0, len(values), size)]
    return values


def _json(case: Case, data: Callable[[CaseTensor], Any] = _values) -> dict[str, Any]:
    inputs = [
        {"name": t.name, "shape": t.shape, "datatype": t.datatype, "data": data(t)}
        for t in case.inputs
    ]
    best = {"parameters": {"classification": case.classes}} if case.classes else {}
    outputs = [{"name": name, **best} for name in case.outputs]
    return {"id": case.id, "inputs": inputs, "outputs": outputs, "parameters": case.parameters}


def _binary(case: Case) -> tuple[bytes, dict[str, str]]:
    asked = _json(case)
    raw = [to_raw(tensor) for tensor in case.inputs]
    for tensor, data in zip(asked["inputs"], raw, strict=True):
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(data)}
    asked["parameters"] = {**case.parameters, "binary_data_output": True}
    head = json.dumps(asked).encode()
    return head + b"".join(raw), {"inference-header-content-length": str(len(head))}


def _post(case: Case, at: Endpoint, body: bytes, headers: dict[str, str]) -> Reply | Refusal:
    version = f"/versions/{case.version}" if case.version else ""
    url = f"http://{at.rest}/v2/models/{case.model}{version}/infer"
    reply = httpx.post(url, content=body, headers=headers, trust_env=False)
    if reply.status_code != 200:
        return refusal(str(reply.status_code), reply.json()["error"])
    length = int(reply.headers.get("inference-header-content-length", len(reply.content)))
    decoded = json.loads(reply.content[:length])
    outputs, position = {}, length
    for out in decoded["outputs"]:
        size = out.get("parameters", {}).get("binary_data_size", 0)
        raw = reply.content[position : position + size] if size else None
        position += size
        outputs[out["name"]] = _from_rest(out, raw)
    return Reply(outputs, decoded["model_version"], decoded.get("id", ""))


def _from_rest(out: dict[str, Any], raw: bytes | None) -> Any:
    dtype = NUMPY[out["datatype"]]
    if raw is None:
        values = [float(v) if dtype.kind == "f" and v is not None else v for v in out["data"]]
        return np.array(values, dtype).reshape(out["shape"])
    return from_raw(raw, out["datatype"]).reshape(out["shape"])


def rest_json(case: Case, at: Endpoint) -> Reply | Refusal:
    return _post(case, at, json.dumps(_json(case)).encode(), {})


def rest_nested(case: Case, at: Endpoint) -> Reply | Refusal:
    return _post(case, at, json.dumps(_json(case, _nested), ensure_ascii=False).encode(), {})


def rest_binary(case: Case, at: Endpoint) -> Reply | Refusal:
    return _post(case, at, *_binary(case))


def rest_gzip(case: Case, at: Endpoint) -> Reply | Refusal:
    body, headers = _binary(case)
    return _post(case, at, gzip.compress(body), {**headers, "content-encoding": "gzip"})


def rest_deflate(case: Case, at: Endpoint) -> Reply | Refusal:
    body = zlib.compress(json.dumps(_json(case)).encode())
    return _post(case, at, body, {"content-encoding": "deflate"})


def _can_nest(case: Case) -> bool:
    return all(min(tensor.shape) > 0 for tensor in case.inputs)


WAYS = [
    Way("rest-json", "rest", rest_json),
    Way(
        "rest-nested", "rest", rest_nested, lambda case: all(min(t.shape) > 0 for t in case.inputs)
    ),
    Way("rest-binary", "rest", rest_binary),
    Way("rest-gzip", "rest", rest_gzip),
    Way("rest-deflate", "rest", rest_deflate),
]
