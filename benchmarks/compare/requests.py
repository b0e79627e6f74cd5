"""Encode one request to a model for each server's protocol."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import grpc
import httpx
import msgspec

from benchmarks.compare.models import SAMPLED, Subject
from loadtests.clients import INFER
from service.protocol import open_inference_pb2 as pb

_JSON = {"content-type": "application/json"}


class Question(msgspec.Struct, frozen=True):
    """A request to repeat: an HTTP POST, or the message of a unary gRPC call."""

    transport: Literal["http", "grpc"]
    path: str
    body: bytes
    headers: Mapping[str, str] = {}

    def ask(self, port: int, timeout: float = 60.0) -> float:
        """Send the request once with an ordinary client; return the seconds until the reply.

        Raises ConnectionError if there is no response or an error response.
        """
        started = time.perf_counter()
        if self.transport == "http":
            self._post(port, timeout)
        else:
            self._call(port, timeout)
        return time.perf_counter() - started

    def _post(self, port: int, timeout: float) -> None:
        url = f"http://127.0.0.1:{port}{self.path}"
        try:
            reply = httpx.post(
                url, content=self.body, headers=dict(self.headers), timeout=timeout, trust_env=False
            )
        except httpx.HTTPError as error:
            raise ConnectionError(str(error)) from None
        if not reply.is_success:
            raise ConnectionError(f"{reply.status_code}: {reply.text[:500]}")

    def _call(self, port: int, timeout: float) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                channel.unary_unary(self.path)(self.body, timeout=timeout)
            except grpc.RpcError as error:
                raise ConnectionError(str(error)) from None


def open_inference_json(subject: Subject) -> Question:
    """Encode for the Open Inference Protocol with numbers in JSON."""
    tensor = {**_described(subject), "data": _numbers(subject.rows.ravel())}
    body = msgspec.json.encode({"inputs": [tensor]})
    return Question("http", f"/v2/models/{subject.name}/infer", body, _JSON)


def sampled_binary(subject: Subject) -> Question:
    """Encode like `open_inference_binary`, for the model with sampled payloads."""
    return open_inference_binary(msgspec.structs.replace(subject, name=subject.name + SAMPLED))


def open_inference_binary(subject: Subject) -> Question:
    """Encode for the Open Inference Protocol with binary tensor data in request and reply."""
    raw = subject.rows.tobytes()
    tensor = {**_described(subject), "parameters": {"binary_data_size": len(raw)}}
    head = msgspec.json.encode({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    return Question("http", f"/v2/models/{subject.name}/infer", head + raw, headers)


def open_inference_grpc(subject: Subject) -> Question:
    """Encode for the Open Inference Protocol over gRPC with raw contents."""
    request = pb.ModelInferRequest(
        model_name=subject.name, raw_input_contents=[subject.rows.tobytes()]
    )
    reported = _described(subject)
    request.inputs.add(
        name=reported["name"], datatype=reported["datatype"], shape=reported["shape"]
    )
    return Question("grpc", INFER, request.SerializeToString())


def plain_rows(subject: Subject) -> Question:
    """Encode `POST /predict` with lists of numbers, for BentoML and LitServe."""
    rows = [_numbers(row) for row in subject.rows]
    return Question("http", "/predict", msgspec.json.encode({"x": rows}), _JSON)


def _described(subject: Subject) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": list(subject.rows.shape)}


def _numbers(values: Any) -> list[float]:
    """Return numbers with the shortest float32 digits: 0.1, not 0.10000000149011612."""
    return [round(value, 6) for value in values.tolist()]
