"""Isolated models over the network: a crash affects only its own model."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from eventlog.events import PredictionEvent
from tests.service.conftest import Service
from tests.service.test_isolated_sessions import endless_loop
from tests.service.test_live_crash import DEADLY, quotient
from tests.tiny_model import filled

MODELS = {
    "quotient": (quotient(), {"isolation": "process"}),
    "filled": (filled("ConstantOfShape"), {"isolation": "process", "memory": "1GiB"}),
    "endless": (endless_loop(), {"isolation": "process"}),
}


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("isolation")
    with Service(root, free_port, poll_interval_s="0.1") as service:
        service.register()
        for name, (model, session) in MODELS.items():
            service.registry.register(
                model.SerializeToString(), model=name, manifest={"session": session}
            )
            service.registry.promote(name, "1")
        service.start()
        yield service


def infer(
    service: Service, model: str, *tensors: tuple[str, str, list[float]], **parameters: Any
) -> httpx.Response:
    inputs = [
        {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
        for name, datatype, data in tensors
    ]
    body = {"inputs": inputs, "parameters": parameters}
    return service.http.post(f"/v2/models/{model}/infer", json=body)


def divide(service: Service, x: int, y: int) -> httpx.Response:
    return infer(service, "quotient", ("x", "INT32", [x]), ("y", "INT32", [y]))


def failures(service: Service, model: str) -> list[PredictionEvent]:
    return [
        event
        for record in service.events()
        if isinstance(event := record.event, PredictionEvent)
        and event.model == model
        and event.outcome != "ok"
    ]


def test_a_crash_affects_only_its_model(serving: Service) -> None:
    assert divide(serving, 9, 3).json()["outputs"][0]["data"] == [3]
    rows = [{"price": 1.0, "colour": "red"}]
    neighbour: list[int] = []
    ended = threading.Event()

    def call_neighbour() -> None:
        with httpx.Client(base_url=serving.url, trust_env=False, timeout=60) as client:
            while not ended.is_set():
                body = {"model": "tiny", "rows": rows}
                neighbour.append(client.post("/predict", json=body).status_code)

    caller = threading.Thread(target=call_neighbour)
    caller.start()
    crashed = divide(serving, *DEADLY)
    again = divide(serving, 9, 3)
    ended.set()
    caller.join()

    assert crashed.status_code == 500
    assert "ended during the run: Floating point exception" in crashed.json()["error"]
    assert again.json()["outputs"][0]["data"] == [3]
    assert set(neighbour) == {200}
    (event,) = failures(serving, "quotient")
    assert (event.outcome, event.reason) == ("failed", crashed.json()["error"])
    metrics = serving.http.get("/metrics").text
    assert 'driftline_model_restarts_total{model="quotient",version="1"} 1.0' in metrics


def test_a_crash_has_a_status_over_grpc(serving: Service) -> None:
    inputs = [triton.InferInput(name, [1], "INT32") for name in ("x", "y")]
    for tensor, value in zip(inputs, DEADLY, strict=True):
        tensor.set_data_from_numpy(np.array([value], np.int32))
    with (
        triton.InferenceServerClient(f"127.0.0.1:{serving.grpc_port}") as client,
        pytest.raises(InferenceServerException, match="ended during the run") as failed,
    ):
        client.infer("quotient", inputs)
    assert failed.value.status() == str(grpc.StatusCode.INTERNAL)


def test_a_run_over_the_memory_limit_fails_with_the_reason(serving: Service) -> None:
    refused = infer(serving, "filled", ("shape", "INT64", [10**9]))
    assert refused.status_code == 500
    assert refused.json()["error"] == (
        "the run of version 1 of filled needs more memory than session.memory allows (1024 MiB)"
    )
    answered = infer(serving, "filled", ("shape", "INT64", [3]))
    assert answered.json()["outputs"][0]["data"] == [1.0, 1.0, 1.0]


def test_an_endless_run_ends_at_its_deadline(serving: Service) -> None:
    x = ("x", "FP32", [1.0])
    expired = infer(serving, "endless", ("steps", "INT64", [2**62]), x, timeout=300_000)
    assert expired.status_code == 504
    assert failures(serving, "endless")[-1].outcome == "expired"
    answered = infer(serving, "endless", ("steps", "INT64", [3]), x)
    assert answered.json()["outputs"][0]["data"] == [8.0]


def _processes(service: Service) -> int:
    """The processes of isolated models below the service."""
    found = psutil.Process(service.supervisor).children(recursive=True)
    commands = []
    for one in found:
        with suppress(psutil.NoSuchProcess):
            commands.append(" ".join(one.cmdline()))
    return sum("service.sessions.child" in command for command in commands)


def test_the_process_of_an_unloaded_model_ends(serving: Service) -> None:
    before = _processes(serving)
    assert before > 0
    serving.registry.unload("endless", "1", actor="operator")
    serving.until(lambda: _processes(serving) == before - 1)
