"""Call a service over REST and gRPC; each acknowledgement is durable before the next request."""

import http.client
import json
import os
import time
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

PATIENCE = 180.0  # seconds in which a service under faults must answer again
_INFER = "/inference.GRPCInferenceService/ModelInfer"


class Client:
    """Send one request after the other; retry each until it is answered."""

    def __init__(self, port: int, grpc_port: int, acknowledgements: Path) -> None:
        self._port = port
        self._address = f"127.0.0.1:{grpc_port}"
        self._file = os.open(acknowledgements, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._asked = 0
        self.acknowledged: list[dict[str, str]] = []

    def round(self) -> None:
        """One prediction over each protocol, and a label for the first."""
        prediction = self._until_answered(self._rest)
        self._until_answered(self._grpc)
        self._until_answered(lambda ask: self._label(ask, prediction))

    def until_refused(self) -> str:
        """Predict until the service refuses; return its reason."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self._noted("refused", self._rest)
            except Refused as error:
                return str(error)
            except (OSError, http.client.HTTPException):  # it does not listen yet
                time.sleep(0.05)
        raise AssertionError("nothing is refused")

    def close(self) -> None:
        os.close(self._file)

    def _until_answered(self, send: Any) -> str:
        self._asked += 1
        ask = f"ask-{self._asked}"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._noted(ask, send)
            except (OSError, http.client.HTTPException, grpc.RpcError, Refused) as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{ask} is not answered") from error
                time.sleep(0.05)

    def _noted(self, ask: str, send: Any) -> str:
        kind, name = send(ask)
        entry = {"ask": ask, "kind": kind, "prediction_id": name}
        os.write(self._file, json.dumps(entry).encode() + b"\n")
        os.fsync(self._file)
        self.acknowledged.append(entry)
        return str(name)

    def _post(self, path: str, body: Any) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            reason = response.read().decode()
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise Refused(f"{path}: status {response.status}: {reason}")
        return response

    def _rest(self, ask: str) -> tuple[str, str]:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}
        response = self._post("/v2/models/oracle/infer", {"id": ask, "inputs": [tensor]})
        return "prediction", response.headers["driftline-prediction-id"]

    def _grpc(self, ask: str) -> tuple[str, str]:
        request = service_pb2.ModelInferRequest(model_name="oracle", id=ask)
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
        tensor.contents.fp32_contents.append(0.5)
        with grpc.insecure_channel(self._address) as channel:
            infer = channel.unary_unary(
                _INFER,
                service_pb2.ModelInferRequest.SerializeToString,
                service_pb2.ModelInferResponse.FromString,
            )
            _, call = infer.with_call(request, timeout=30)
            metadata = dict([*call.initial_metadata(), *call.trailing_metadata()])
        return "prediction", str(metadata["driftline-prediction-id"])

    def _label(self, _ask: str, prediction: str) -> tuple[str, str]:
        self._post("/v1/feedback", {"prediction_id": prediction, "label": 1})
        return "label", prediction


class Refused(Exception):
    """The service answered with an error: nothing is acknowledged."""
