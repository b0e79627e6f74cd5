"""A model that kills its worker is logged and quarantined, and other models are served."""

from collections.abc import Callable, Iterator

import httpx
import onnx
import pytest
from onnx import TensorProto, helper

from eventlog.events import PredictionEvent
from tests.service.conftest import Service
from tests.tiny_model import as_model, filled

DEADLY = [-(2**31), -1]  # ONNX Runtime divides them by an instruction that traps


def quotient() -> onnx.ModelProto:
    """The quotient of two integers."""
    integer = [
        helper.make_tensor_value_info(name, TensorProto.INT32, [None]) for name in ("x", "y", "z")
    ]
    node = helper.make_node("Div", ["x", "y"], ["z"])
    return as_model(helper.make_graph([node], "quotient", integer[:2], integer[2:]))


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("crash")
    with Service(root, free_port, poll_interval_s="0.1", memory="3GiB") as service:
        service.register()
        service.registry.register(filled("ConstantOfShape").SerializeToString(), model="filled")
        service.registry.register(quotient().SerializeToString(), model="quotient")
        for name in ("tiny", "quotient", "filled"):
            service.registry.promote(name, "1")
        service.start()
        yield service


def _divide(service: Service, x: int, y: int, request: str = "") -> httpx.Response:
    tensors = [
        {"name": name, "datatype": "INT32", "shape": [1], "data": [value]}
        for name, value in (("x", x), ("y", y))
    ]
    return service.http.post("/v2/models/quotient/infer", json={"id": request, "inputs": tensors})


def test_a_run_over_the_workers_memory_fails_with_the_reason(serving: Service) -> None:
    def fill(size: int) -> httpx.Response:
        tensor = {"name": "shape", "datatype": "INT64", "shape": [1], "data": [size]}
        return serving.http.post("/v2/models/filled/infer", json={"inputs": [tensor]})

    refused = fill(10**9)
    assert refused.status_code == 500
    assert refused.json()["error"] == (
        "the model's run needs more memory than DRIFTLINE_SERVICE_MEMORY allows the worker "
        "(3072 MiB in total)"
    )
    assert fill(3).json()["outputs"][0]["data"] == [1.0, 1.0, 1.0]


def _ready(service: Service, model: str) -> bool:
    try:
        return service.http.get(f"/v2/models/{model}/ready").is_success
    except httpx.HTTPError:
        return False


def test_requests_that_kill_their_worker_are_logged_and_their_model_is_quarantined(
    serving: Service,
) -> None:
    assert _divide(serving, 9, 3).json()["outputs"][0]["data"] == [3]
    for request in ("first", "second"):
        serving.until(lambda: _ready(serving, "quotient"))
        with pytest.raises(httpx.HTTPError):
            _divide(serving, *DEADLY, request)
        serving.until(lambda: _ready(serving, "tiny"))

    refused = _divide(serving, 9, 3)
    assert refused.status_code == 503
    assert "killed its worker twice within a minute (Floating" in refused.json()["error"]
    assert not _ready(serving, "quotient")
    assert serving.http.get("/v2/health/ready").is_success
    rows = [{"price": 1.0, "colour": "red"}]
    assert serving.http.post("/predict", json={"model": "tiny", "rows": rows}).is_success
    failed = [
        event
        for record in serving.events()
        if isinstance(event := record.event, PredictionEvent)
        and event.model == "quotient"
        and event.outcome == "failed"
    ]
    assert [(event.request_id, event.model, event.version) for event in failed] == [
        ("first", "quotient", "1"),
        ("second", "quotient", "1"),
    ]
    assert "the worker process ended during the run (Floating" in failed[0].reason
    assert "while version 1 of quotient ran 1 requests" in serving.said()

    serving.registry.load("quotient", "1", actor="operator")
    serving.until(lambda: _ready(serving, "quotient"))
    assert _divide(serving, 9, 3).is_success
