"""A rollout by command, over every protocol, up to its promotion."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tritonclient.grpc as triton
from click.testing import CliRunner

from driftline.cli import driftline
from eventlog.events import PredictionEvent
from registry.history.rollout_state import hash_key, position
from registry.settings import open_history
from tests.service.conftest import Service
from tests.service.test_live_grpc import tensor_inputs

pytestmark = pytest.mark.timeout(600)
ROW = {"price": 0.5, "colour": "red"}
TENSORS = [
    {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
    {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
]
KEYS = [f"user-{n}" for n in range(30)]


@pytest.fixture(scope="module", params=["native", "aio"])
def serving(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Iterator[Service]:
    """Versions 1 (champion) and 2 on two workers."""
    root = tmp_path_factory.mktemp("rollout")
    with Service(
        root, free_port, grpc=request.param, workers="2", poll_interval_s="0.1"
    ) as service:
        service.register()
        service.register(description="retrained")
        service.registry.promote("tiny", "1")
        service.start()
        yield service


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(driftline, ["rollout", *arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def _over_rest(service: Service, key: str) -> tuple[str, str]:
    reply = service.http.post(
        "/v2/models/tiny/infer", json={"inputs": TENSORS}, headers={"driftline-routing-key": key}
    ).raise_for_status()
    assert reply.json()["parameters"]["arm"] == reply.headers["driftline-arm"]
    return reply.headers["driftline-version"], reply.headers["driftline-arm"]


def _as_rows(service: Service, key: str) -> tuple[str, str]:
    body = {"model": "tiny", "rows": [ROW], "routing_key": key}
    reply = service.http.post("/predict", json=body).raise_for_status()
    return reply.headers["driftline-version"], reply.headers["driftline-arm"]


def _over_grpc(service: Service, key: str) -> tuple[str, str]:
    with triton.InferenceServerClient(f"127.0.0.1:{service.grpc_port}") as client:
        answer: Any = client.infer("tiny", tensor_inputs(), headers={"driftline-routing-key": key})
        response = answer.get_response()
        return response.model_version, response.parameters["arm"].string_param


def test_a_routing_key_gets_one_version_over_every_protocol_until_the_promotion(
    serving: Service,
) -> None:
    said = _run("start", "tiny", "--version", "2", "--steps", "50,100", "--bake", "1m")
    assert "version 2 answers 50 % of the keys, version 1 the others; running" in said
    rollout = open_history(serving.home).state("tiny").rollouts["champion"].id
    for key in KEYS:
        expected = ("2", "rollout") if position(hash_key(key, rollout)) < 0.5 else ("1", "before")
        for ask in (_over_rest, _as_rows, _over_grpc):
            assert ask(serving, key) == expected
    assert "answers 100 % of the keys" in _run("advance", "tiny")
    assert {_over_rest(serving, key) for key in KEYS} == {("2", "rollout")}
    assert "version 2 is completed" in _run("promote", "tiny", "--why", "as good")
    reply = serving.http.post("/predict", json={"model": "tiny", "rows": [ROW]})
    assert reply.headers["driftline-version"] == "2"
    assert "driftline-arm" not in reply.headers
    events = [r.event for r in serving.events() if isinstance(r.event, PredictionEvent)]
    counted = [(e.version, e.arm) for e in events if e.rollout == rollout]
    assert len(counted) == 3 * len(KEYS) + len(KEYS)
    assert {e.routing_key for e in events if e.rollout} == {hash_key(k, rollout) for k in KEYS}


def test_a_barred_version_gets_no_requests_after_its_rollout(serving: Service) -> None:
    _run("start", "tiny", "--version", "1", "--steps", "100")
    assert _over_rest(serving, "k") == ("1", "rollout")
    said = _run("abort", "tiny", "--why", "slower", "--bar")
    assert "version 1 is aborted: slower" in said
    assert serving.http.post("/predict", json={"model": "tiny", "rows": [ROW]}).headers[
        "driftline-version"
    ] == ("2")
    refused = serving.http.post("/v2/models/tiny/versions/1/infer", json={"inputs": TENSORS})
    assert (refused.status_code, "was barred" in refused.json()["error"]) == (503, True)
