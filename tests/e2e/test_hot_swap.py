"""Versions are promoted and unloaded under load on two workers, and no request fails."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from registry.limits import UNCHANGED
from registry.manifest import Version
from registry.worker_reports import read_workers
from tests.preloaded import run
from tests.service.conftest import Service
from tests.service.test_live_repository import BODY


@pytest.fixture
def pair(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Service]:
    """Two workers with versions 1 (champion) and 2 of `tiny`."""
    with Service(tmp_path, free_port, workers="2", poll_interval_s="0.1") as service:
        service.register()
        service.register(description="another")
        service.registry.promote("tiny", "1")
        service.start()
        yield service


class Traffic:
    """Asks for the champion without a pause, over REST and gRPC, and keeps what went wrong."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=ask) for ask in (self._rest, self._rest, self._grpc)
        ]
        self.versions: set[str] = set()
        self.answers = 0
        self.faults: list[str] = []

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(30)

    def _rest(self) -> None:
        while not self._enough.is_set():
            url = f"{self._service.url}/v2/models/tiny/infer"
            with httpx.Client(trust_env=False, timeout=30) as client:  # either worker may accept
                for _ in range(20):
                    response = client.post(url, json=BODY)
                    if response.is_success:
                        self.answers += 1
                        self.versions.add(response.json()["model_version"])
                    else:
                        self.faults.append(response.text)

    def _grpc(self) -> None:
        inputs = []
        for one in BODY["inputs"]:
            tensor = triton_grpc.InferInput(one["name"], one["shape"], one["datatype"])
            kind = np.object_ if one["datatype"] == "BYTES" else np.float32
            tensor.set_data_from_numpy(np.array(one["data"], kind).reshape(one["shape"]))
            inputs.append(tensor)
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{self._service.grpc_port}") as client:
            while not self._enough.is_set():
                try:
                    client.infer("tiny", inputs)
                    self.answers += 1
                except InferenceServerException as error:
                    self.faults.append(str(error))


def _driftline(service: Service, *arguments: str, ends_with: int = 0) -> str:
    """What the command says, to people and about errors."""
    command = [sys.executable, "-m", "driftline", *arguments]
    done = run(command, env=service.environment, timeout=400)
    assert done.returncode == ends_with, done.stderr
    return done.stdout + done.stderr


def _damage(version: Version) -> None:
    """Make its warm-up fail."""
    path = Path(version.path) / "reference.parquet"
    path.chmod(0o644)
    pd.read_parquet(path).assign(price="dear").to_parquet(path)


def test_promoting_unloading_and_loading_under_load_fails_no_request(pair: Service) -> None:
    with Traffic(pair) as traffic:
        said = _driftline(pair, "promote", "tiny", "--version", "2")
        assert "2 of 2 workers serve version 2" in said
        pair.register(description="a third")
        assert "workers serve version 3" in _driftline(pair, "promote", "tiny", "--version", "3")
        said = _driftline(pair, "unload", "tiny", "--version", "1")
        assert "2 of 2 workers have unloaded it" in said
        said = _driftline(pair, "unload", "tiny", "--version", "1", "--undo")
        assert "2 of 2 workers have loaded it" in said
        limits = ("--max-wait-ms", "5000", "--priority-levels", "2", "--cache-max-bytes", "100000")
        assert "2 of 2 workers have applied it" in _driftline(pair, "limits", "tiny", *limits)
        pair.registry.limit("tiny", "", UNCHANGED)
        assert "2 of 2 workers serve" in _driftline(pair, "promote", "tiny", "--version", "1")
    assert traffic.faults == []
    assert traffic.answers > 100
    assert traffic.versions == {"1", "2", "3"}
    assert len(read_workers(pair.home.workers)) == 2
    pair.stop()
    assert read_workers(pair.home.workers) == []


def test_a_version_that_fails_to_load_takes_no_request_from_the_previous_one(
    pair: Service,
) -> None:
    with Traffic(pair) as traffic:
        pair.register(session={"providers": ["CUDA"]})
        said = _driftline(pair, "promote", "tiny", "--version", "3", ends_with=1)
        assert "0 of 2 workers serve version 3" in said
        assert "'CUDA' is not installed here" in said
        pair.http.post("/v2/repository/models/tiny/unload", json={"parameters": {"version": "2"}})
        _damage(pair.registry.version("tiny", "2"))
        loaded = pair.http.post(
            "/v2/repository/models/tiny/load", json={"parameters": {"version": "2"}}
        )
        assert (loaded.status_code, "reference.parquet was changed" in loaded.text) == (503, True)
        assert pair.http.get("/v2/models/tiny/versions/2/ready").status_code == 503
        assert pair.http.get("/v2/health/ready").status_code == 200
    assert traffic.faults == []
    assert traffic.answers > 50
    assert traffic.versions == {"1"}
