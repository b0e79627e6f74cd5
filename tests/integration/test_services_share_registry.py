"""Services of several machines on one PostgreSQL registry, with an outage of its server.

Two machines for seconds in the run; ten machines for ten minutes in `make nightly`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from driftline.convergence import wait_for_workers
from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.errors import RegistryUnavailable
from registry.history.audit import chain_faults
from registry.history.store import History
from registry.store import Registry
from tests.depth import NIGHTLY, by_depth
from tests.postgres_server import PostgresServer, running
from tests.preloaded import Command
from tests.service.conftest import Service
from tests.tiny_model import register_tiny

MACHINES = by_depth(2, 10)
OUTAGE_S = by_depth(3.0, 600.0)
_STARTED_AT_ONCE = 3
REQUEST = {
    "inputs": [
        {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
    ]
}


class Caller:
    """Ask one service without a pause, and note the version and the time of every answer."""

    def __init__(self, service: Service) -> None:
        self.answers: list[tuple[float, str]] = []
        self.failures: list[str] = []
        self._http = httpx.Client(base_url=service.url, trust_env=False, timeout=60)
        self._stop = Event()
        self._thread = Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.wait(0.02):  # a pace, not a wait
            try:
                reply = self._http.post("/v2/models/tiny/infer", json=REQUEST)
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            if reply.is_success:
                self.answers.append((time.monotonic(), reply.json()["model_version"]))
            else:
                self.failures.append(reply.text)

    def until_version(self, number: str, since: float = 0.0) -> float:
        """Wait for the first answer of a version after a time; return its time."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            for at, version in list(self.answers):
                if at >= since and version == number:
                    return at
            time.sleep(0.02)
        raise AssertionError(f"no answer of version {number}: {self.failures[:1]}")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


@pytest.fixture
def server(free_port: Callable[[], int]) -> Iterator[PostgresServer]:
    with running(free_port()) as server:
        yield server


def test_services_survive_an_outage_of_their_shared_registry(
    server: PostgresServer,
    tmp_path: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = {
        "DRIFTLINE_REGISTRY": server.schema(),
        "DRIFTLINE_ARTIFACTS": (tmp_path / "artifacts").as_uri(),
    }
    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "desk" / "bentoml"))
    home = Home(tmp_path / "desk" / "home")
    registry = Registry(home, wait=True)
    for description in ("one", "two"):
        register_tiny(registry, tmp_path / "files", promoted=True, description=description)

    with ExitStack() as stack:
        services = [_machine(stack, tmp_path / f"machine{n}", free_port) for n in range(MACHINES)]
        with ThreadPoolExecutor(_STARTED_AT_ONCE) as pool:
            list(pool.map(Service.start, services))
        callers = [Caller(service) for service in services]
        for caller in callers:
            stack.callback(caller.stop)
            caller.until_version("1")
        _report("a promotion", _promote(registry, home, callers, "2"))

        late = services[-1]
        callers.pop().stop()
        late.stop()
        server.stop()
        with pytest.raises(RegistryUnavailable, match=r"registry database 127\.0\.0\.1"):
            Registry(home).promote("tiny", "1")
        change = _command(home, tmp_path, "promote", "tiny", "--version", "1")
        late.start()  # from what its disk has
        callers.append(Caller(late))
        stack.callback(callers[-1].stop)
        callers[-1].until_version("2")
        time.sleep(OUTAGE_S)  # the length of the outage is the subject, not a wait
        for caller in callers:
            assert caller.answers[-1][1] == "2"
        began = time.monotonic()
        server.start()
        output, _ = change.communicate(timeout=300)
        assert change.returncode == 0, output
        assert "retrying the change for" in output
        assert f"{MACHINES} of {MACHINES} workers serve version 1" in output
        late_by = [caller.until_version("1", began) - began for caller in callers]
        _report("the return of the database", late_by)
        for caller in callers:
            assert caller.failures == []
    history = History(shared["DRIFTLINE_REGISTRY"])
    assert list(chain_faults(history.all_rows())) == []
    assert [row.number for row in history.rows("tiny") if row.kind == "promoted"] == list("121")


def _machine(stack: ExitStack, root: Path, free_port: Callable[[], int]) -> Service:
    root.mkdir()
    service = Service(root, free_port, workers="1")
    stack.callback(lambda: service.process is not None and service.stop())
    return service


def _promote(registry: Registry, home: Home, callers: list[Caller], number: str) -> list[float]:
    """Promote, wait until all workers report it, and return after how long each answered so."""
    revision = registry.promote("tiny", number)
    began = time.monotonic()
    assert len(wait_for_workers(AllWorkers(home), revision, 180)) == MACHINES
    return [caller.until_version(number, began) - began for caller in callers]


def _command(home: Home, tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    wait = {"DRIFTLINE_REGISTRY_WAIT_S": f"{OUTAGE_S + 240:g}", "DRIFTLINE_HOME": str(home.root)}
    return Command(
        [sys.executable, "-m", "driftline", *arguments, "--timeout", "180"],
        env={**os.environ, **wait}, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _report(what: str, seconds: list[float]) -> None:
    if NIGHTLY:
        print(f"{what} reached {len(seconds)} machines after {min(seconds):.2f} to ", end="")
        print(f"{max(seconds):.2f} s")
