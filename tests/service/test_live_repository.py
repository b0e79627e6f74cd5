"""Load and unload through the clients that others wrote, on a service of two workers."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.service.conftest import Service
from tests.tiny_model import register_tiny

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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        service = Service(root, free_port, workers="2", poll_interval_s="0.1")
        service.register()
        service.register(description="another")
        service.registry.promote("tiny", "1")
        service.start()
        yield service
        service.stop()


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


def test_unloading_a_version_under_traffic_fails_no_request_to_the_other(pair: Service) -> None:
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


def test_what_cannot_be_loaded_is_refused_with_the_reason(pair: Service, client: Any) -> None:
    with pytest.raises(InferenceServerException, match="models: tiny"):
        client.load_model("none")
    with pytest.raises(InferenceServerException, match="config"):
        client.load_model("tiny", config="{}")
    for body in (b"[", b"[]", b'{"parameters": 1}', b"\xff"):
        reply = pair.http.post("/v2/repository/models/tiny/load", content=body)
        assert reply.status_code == 400
        assert "JSON" in reply.json()["error"]


def test_later_versions_of_a_model_without_champion_wait_for_a_promotion(
    pair: Service, tmp_path: Path
) -> None:
    """Registering from a file promotes nothing by itself; `driftline register` does."""

    def answering() -> set[str]:
        url = f"{pair.url}/v2/models/quiet/infer"
        replies = [httpx.post(url, json=BODY, trust_env=False).json() for _ in range(_ASKED)]
        return {reply.get("model_version", "") for reply in replies}

    register_tiny(pair.registry, tmp_path / "first", "quiet")
    pair.until(lambda: answering() == {"1"})
    register_tiny(pair.registry, tmp_path / "second", "quiet", description="later")
    named = f"{pair.url}/v2/models/quiet/versions/2/ready"
    pair.until(lambda: httpx.get(named, trust_env=False).status_code == 200)
    assert answering() == {"1"}
    pair.registry.promote("quiet", "2")
    pair.until(lambda: answering() == {"2"})
