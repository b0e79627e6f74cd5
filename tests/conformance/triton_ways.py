"""Triton's real clients: http, grpc, and the asyncio variants of both."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient.utils import InferenceServerException

from tests.conformance.cases import Case
from tests.conformance.ways import Endpoint, Refusal, Reply, Way, refusal

Go = Callable[[Case, Endpoint], Reply | Refusal]


def _asked(module: Any, case: Case, **how: bool) -> dict[str, Any]:
    inputs = []
    for tensor in case.inputs:
        given = module.InferInput(tensor.name, tensor.shape, tensor.datatype)
        given.set_data_from_numpy(tensor.array(), **how)
        inputs.append(given)
    outputs = [
        module.InferRequestedOutput(name, class_count=case.classes, **how) for name in case.outputs
    ]
    return {
        "model_name": case.model,
        "inputs": inputs,
        "model_version": case.version,
        "outputs": outputs or None,
        "request_id": case.id,
        "parameters": case.parameters or None,
    }


def _response(result: Any) -> Reply:
    response = result.get_response()
    if isinstance(response, dict):
        names = [out["name"] for out in response["outputs"]]
        version, id_ = response["model_version"], response.get("id", "")
    else:
        names = [out.name for out in response.outputs]
        version, id_ = response.model_version, response.id
    return Reply({name: _text(result.as_numpy(name)) for name in names}, version, id_)


def _text(array: Any) -> Any:
    if array.dtype != object:
        return array
    plain = [v.decode() if isinstance(v, bytes) else v for v in array.ravel()]
    return np.array(plain, object).reshape(array.shape)


def _refusal(error: InferenceServerException) -> Refusal:
    code = (error.status() or "").removeprefix("StatusCode.")
    return refusal(code, error.message())


def _by_triton(module: Any, transport: str, **how: bool) -> Go:
    def go(case: Case, at: Endpoint) -> Reply | Refusal:
        with module.InferenceServerClient(getattr(at, transport)) as client:
            try:
                return _response(client.infer(**_asked(module, case, **how)))
            except InferenceServerException as error:
                return _refusal(error)

    return go


def _by_triton_aio(module: Any, parts: Any, transport: str, **how: bool) -> Go:
    async def ask(case: Case, at: Endpoint) -> Reply | Refusal:
        async with module.InferenceServerClient(getattr(at, transport)) as client:
            try:
                return _response(await client.infer(**_asked(parts, case, **how)))
            except InferenceServerException as error:
                return _refusal(error)

    def go(case: Case, at: Endpoint) -> Reply | Refusal:
        return asyncio.run(ask(case, at))

    return go


def _finite(case: Case) -> bool:
    """Triton's JSON writes NaN as a word that is no JSON."""
    return all(np.isfinite(v) for t in case.inputs for v in t.values if isinstance(v, float))


def _true(case: Case) -> bool:
    """What a client that checks its user's arrays can be brought to send."""
    return case.verdict in {"ok", "unknown"} or case.name in {
        "another input",
        "another datatype",
        "a rank too low",
        "an output that is none",
        "the best of strings",
        "fewer classes than one",
        "an event time that is none",
    }


def _can_say_json(case: Case) -> bool:
    return _true(case) and _finite(case) and all(t.datatype != "FP16" for t in case.inputs)


WAYS = [
    Way("triton-json", "rest", _by_triton(triton_http, "rest", binary_data=False), _can_say_json),
    Way("triton-binary", "rest", _by_triton(triton_http, "rest", binary_data=True), _true),
    Way(
        "triton-aio",
        "rest",
        _by_triton_aio(triton_http_aio, triton_http, "rest", binary_data=True),
        _true,
    ),
    Way("triton-grpc", "grpc", _by_triton(triton_grpc, "grpc"), _true),
    Way("triton-grpc-aio", "grpc", _by_triton_aio(triton_grpc_aio, triton_grpc, "grpc"), _true),
]
