"""Simultaneous REST and gRPC requests get the predictions of their own rows."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.grpc.aio as triton

from eventlog.events import PredictionEvent
from tests import preloaded
from tests.row_models import DEPENDENT, INDEPENDENT, register_model
from tests.service.conftest import Service

pytestmark = pytest.mark.untraced

CALLERS, CALLS = 6, 15
MODELS: dict[str, onnx.ModelProto] = {
    **{name: make(None) for name, make in DEPENDENT.items()},
    "named-boxes": DEPENDENT["boxes"]("N"),
    "named-gram": DEPENDENT["gram"]("N"),
    "layers": INDEPENDENT["layers"]("N"),
}


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("neighbours")
    with Service(root, free_port, max_queue_delay_us="20000") as service:
        for name, model in MODELS.items():
            # The service's delay lets requests meet in the queue, whatever the machine does.
            register_model(service.registry, root / name, name, model)
            service.registry.promote(name, "1")
        service.start()
        yield service


def _requests(name: str) -> list[Any]:
    """Inputs of one or two rows, a different one for each call."""
    random = np.random.default_rng(13)
    stated = MODELS[name].graph.input[0]
    many = CALLERS * CALLS
    if stated.name == "text":
        return [
            np.array([" ".join(["w"] * int(count))], object)
            for count in random.integers(1, 30, many)
        ]
    width = stated.type.tensor_type.shape.dim[1].dim_value
    rows = [random.normal(size=(1 + call % 2, width)).astype(np.float32) for call in range(many)]
    for row in rows:
        if width == 2:
            row[:, 0] = random.integers(1, 9, len(row))
    return rows


def _alone(name: str, requests: list[Any]) -> list[dict[str, Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(MODELS[name].SerializeToString(), options)
    outputs = [output.name for output in session.get_outputs()]
    (given,) = [one.name for one in session.get_inputs()]
    return [dict(zip(outputs, session.run(outputs, {given: r}), strict=True)) for r in requests]


def _compare(name: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for output, array in expected.items():
        assert list(found[output].shape) == list(array.shape), output
        if name == "layers":
            np.testing.assert_allclose(found[output], array, rtol=1e-3, atol=1e-3)
        else:
            np.testing.assert_array_equal(found[output], array)


@pytest.mark.parametrize("name", MODELS)
async def test_rest_callers_get_only_their_own_predictions(serving: Service, name: str) -> None:
    requests = _requests(name)
    expected = _alone(name, requests)
    given = MODELS[name].graph.input[0].name
    datatype = "BYTES" if given == "text" else "FP32"
    texts = {"BYTES": object, "FP32": np.float32}

    async def ask(client: httpx.AsyncClient, place: int) -> None:
        rows = requests[place]
        tensor = {"name": given, "datatype": datatype, "shape": list(rows.shape)}
        body = {"inputs": [{**tensor, "data": rows.ravel().tolist()}]}
        answer = await client.post(f"/v2/models/{name}/infer", json=body)
        assert answer.status_code == 200, answer.text
        found = {
            one["name"]: np.array(one["data"], texts[one["datatype"]]).reshape(one["shape"])
            for one in answer.json()["outputs"]
        }
        _compare(name, found, expected[place])

    async with httpx.AsyncClient(base_url=serving.url, trust_env=False, timeout=60) as client:
        for call in range(CALLS):
            await asyncio.gather(*(ask(client, call * CALLERS + who) for who in range(CALLERS)))


@pytest.mark.parametrize("name", ["boxes", "gram", "softmax"])
async def test_grpc_callers_get_only_their_own_predictions(serving: Service, name: str) -> None:
    requests = _requests(name)
    expected = _alone(name, requests)

    async def ask(client: Any, place: int) -> None:
        tensor = triton.InferInput("x", requests[place].shape, "FP32")
        tensor.set_data_from_numpy(requests[place])
        answer = await client.infer(name, [tensor])
        found = {output: answer.as_numpy(output) for output in expected[place]}
        _compare(name, found, expected[place])

    async with triton.InferenceServerClient(f"127.0.0.1:{serving.grpc_port}") as client:
        for call in range(CALLS):
            await asyncio.gather(*(ask(client, call * CALLERS + who) for who in range(CALLERS)))


def test_the_log_shows_which_requests_shared_a_run(serving: Service) -> None:
    """After the tests above: dependent rows never met others, and ordinary ones did."""
    shared: dict[str, bool] = {}
    for record in serving.events():
        event = record.event
        if isinstance(event, PredictionEvent):
            rows = next(iter(event.inputs.values())).shape[0]
            shared[event.model] = shared.get(event.model, False) or event.batch_rows > rows
    assert shared == {name: name == "layers" for name in MODELS}


def test_register_prints_that_requests_run_one_at_a_time_and_why(serving: Service) -> None:
    files = serving.root / "centred"
    stated = ["--manifest", files / "manifest.yaml", "--reference", files / "reference.parquet"]
    command = ["register", str(files / "model.onnx"), "--name", "printed", *stated]
    done = preloaded.run([sys.executable, "-m", "driftline", *command], env=serving.environment)
    done.check_returncode()
    printed = " ".join(done.stdout.split())  # the table breaks lines at 80 columns
    reason = "run one at a time: output 'y' for a row depends on the other rows of its run"
    assert reason in printed, done.stdout
