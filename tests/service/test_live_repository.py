"""Load and unload with Triton's clients on a service of two workers."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from eventlog.events import HeartbeatEvent
from tests.service.conftest import Service
from tests.tiny_model import register_tiny

pytestmark = pytest.mark.untraced

BODY = {
    "inputs": [
        {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
    ]
}
_ASKED = 12  # fresh connections, which the kernel deals out to both workers


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    """Two workers with versions 1 (champion) and 2 of `tiny`."""
    root = tmp_path_factory.mktemp("pair")
    with Service(root, free_port, workers="2", poll_interval_s="0.1") as service:
        service.register()
        service.register(description="another")
        service.registry.promote("tiny", "1")
        service.start()
        yield service


@pytest.fixture
def client(pair: Service) -> Iterator[Any]:
    with triton_http.InferenceServerClient(f"127.0.0.1:{pair.port}") as client:
        yield client


def _statuses(pair: Service, path: str) -> set[int]:
    url = pair.url + path
    return {httpx.post(url, json=BODY, trust_env=False).status_code for _ in range(_ASKED)}


def test_a_model_is_unloaded_and_loaded_in_every_worker(pair: Service, client: Any) -> None:
    client.unload_model("tiny")
    assert not client.is_model_ready("tiny")
    pair.until(lambda: _statuses(pair, "/v2/models/tiny/infer") == {503})
    assert {entry["state"] for entry in client.get_model_repository_index()} == {"UNAVAILABLE"}
    assert client.is_server_ready()
    client.load_model("tiny")
    pair.until(lambda: _statuses(pair, "/v2/models/tiny/infer") == {200})
    assert client.get_model_repository_index() == [
        {"name": "tiny", "version": "1", "state": "READY", "reason": ""},
        {"name": "tiny", "version": "2", "state": "READY", "reason": ""},
    ]


def test_unloading_a_version_under_traffic_fails_no_request_to_another_version(
    pair: Service,
) -> None:
    stop, statuses = threading.Event(), []

    def traffic() -> None:
        with httpx.Client(base_url=pair.url, trust_env=False) as client:
            while not stop.is_set():
                statuses.append(client.post("/v2/models/tiny/infer", json=BODY).status_code)

    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    for verb, expected in (("unload", 503), ("load", 200)) * 2:
        body = {"parameters": {"version": "2"}}
        assert pair.http.post(f"/v2/repository/models/tiny/{verb}", json=body).status_code == 200
        pair.until(lambda: _statuses(pair, "/v2/models/tiny/versions/2/infer") == {expected})  # noqa: B023
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}


def test_a_version_that_cannot_be_loaded_is_refused_with_the_reason(
    pair: Service, client: Any
) -> None:
    with pytest.raises(InferenceServerException, match="models: tiny"):
        client.load_model("none")
    with pytest.raises(InferenceServerException, match="config"):
        client.load_model("tiny", config="{}")
    for body in (b"[", b"[]", b'{"parameters": 1}', b"\xff"):
        reply = pair.http.post("/v2/repository/models/tiny/load", content=body)
        assert reply.status_code == 400
        assert "JSON" in reply.json()["error"]


def test_without_a_champion_every_transport_refuses_requests_without_a_version(
    pair: Service, tmp_path: Path
) -> None:
    """Registering from a file promotes nothing by itself; `driftline register` does."""
    register_tiny(pair.registry, tmp_path / "first", "quiet")
    model = f"{pair.url}/v2/models/quiet"
    pair.until(lambda: _gets(f"{model}/versions/1/ready") == {200})
    refusal = (
        "model 'quiet' has no champion, which answers requests that name no version: run "
        "`driftline promote quiet --version 1`, or name a version: 1"
    )
    rows = {"model": "quiet", "rows": [{"price": 1.0, "colour": "red"}]}
    replies = [
        httpx.get(f"{model}/ready", trust_env=False),
        httpx.get(model, trust_env=False),
        httpx.post(f"{model}/infer", json=BODY, trust_env=False),
        httpx.post(f"{pair.url}/predict", json=rows, trust_env=False),
        pair.http.post("/v2/repository/models/quiet/load"),
    ]
    assert [reply.status_code for reply in replies] == [404, 404, 404, 404, 200]
    assert replies[0].json()["error"] == "no champion answers requests that name no version"
    assert [reply.json()["error"] for reply in replies[1:4]] == [refusal] * 3
    assert pair.is_ready()
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{pair.grpc_port}") as client:
        assert not client.is_model_ready("quiet")
        assert client.is_model_ready("quiet", "1")
        with pytest.raises(InferenceServerException, match=r"NOT_FOUND.*driftline promote quiet"):
            client.get_model_metadata("quiet")
        with pytest.raises(InferenceServerException, match=r"NOT_FOUND.*driftline promote quiet"):
            client.infer("quiet", [])
    pair.registry.promote("quiet", "1")
    pair.until(lambda: _statuses(pair, "/v2/models/quiet/infer") == {200})
    head = pair.registry.head()
    pair.until(lambda: len(_sources_of_head(pair, head)) == 2)  # every worker logs it


def _sources_of_head(pair: Service, head: tuple[int, str]) -> set[str]:
    events = [record.event for record in pair.records()]
    return {
        event.source
        for event in events
        if isinstance(event, HeartbeatEvent) and (event.revision, event.chain) == head
    }


def _gets(url: str) -> set[int]:
    return {httpx.get(url, trust_env=False).status_code for _ in range(_ASKED)}
