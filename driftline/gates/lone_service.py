"""A serving process for a single version, in a separate home."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from driftline.gates.context import GateFailed
from eventlog.parent_death import child_environment
from eventlog.settings import Home
from registry.lone_version import make_lone_home
from registry.manifest import Version

_POLL_S = 0.05
_STOP_S = 20.0
# Environment variables with which the process would use other models, ports or machines.
_NOT_INHERITED = (
    "DRIFTLINE_REGISTRY",
    "DRIFTLINE_ARTIFACTS",
    "DRIFTLINE_SERVICE_ADMIN_PORT",
    "DRIFTLINE_SERVICE_MODELS",
    "DRIFTLINE_SERVICE_TLS_CERTIFICATE",
    "DRIFTLINE_SERVICE_TLS_KEY",
    "DRIFTLINE_SERVICE_TLS_CLIENT_CA",
    "DRIFTLINE_SERVICE_WORKERS",
)


class LoneService:
    """`driftline serve` with one version, running inside a `with` block.

    Entering the block waits until the service is ready. Raises GateFailed if the service exits
    first.
    """

    def __init__(self, version: Version, folder: Path) -> None:
        """Choose ports; `folder` must not exist yet."""
        self.version = version
        self.home = Home(folder / "home")
        self._folder = folder
        port, grpc_port = _free_ports()
        self.url = f"http://127.0.0.1:{port}"
        self.grpc = f"127.0.0.1:{grpc_port}"
        self._ports = ["--host", "127.0.0.1", "--port", str(port), "--grpc-port", str(grpc_port)]
        self.seconds = 0.0  # seconds from start to ready

    def __enter__(self) -> Self:
        self.home.root.mkdir(parents=True)
        make_lone_home(self.version, self.home, self._folder / "bentoml")
        began = time.monotonic()
        with (self._folder / "serve.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of Driftline
                [sys.executable, "-P", "-m", "driftline", "serve", *self._ports],
                env=self.environment(),
                stdout=log,
                stderr=log,
            )
        try:
            with httpx.Client(base_url=self.url, trust_env=False, timeout=5) as client:
                while not self._ready(client):
                    time.sleep(_POLL_S)
        except BaseException:
            self._stop()
            raise
        self.seconds = time.monotonic() - began
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def environment(self) -> dict[str, str]:
        """Return the environment of the process, also for commands that use its models."""
        inherited = {k: v for k, v in child_environment().items() if k not in _NOT_INHERITED}
        stores = {
            "DRIFTLINE_HOME": str(self.home.root),
            "BENTOML_HOME": str(self._folder / "bentoml"),
        }
        return inherited | stores

    def memory_mb(self) -> float | None:
        """Return the proportional set size of the process and its children, None if unknown."""
        try:
            return sum(_memory(pid) for pid in _tree(self._process.pid)) / 1e6
        except OSError:
            return None

    def _ready(self, client: httpx.Client) -> bool:
        if (status := self._process.poll()) is not None:
            raise GateFailed(
                f"the serving process exited with status {status}: {self._last_line()}"
            )
        try:
            if client.get("/v2/health/ready").is_success:
                return True
            index = client.post("/v2/repository/index", json={})
        except httpx.HTTPError:
            return False
        for entry in index.json() if index.is_success else []:
            if entry.get("state") == "UNAVAILABLE":
                raise GateFailed(f"the service cannot load the version: {entry.get('reason')}")
        return False

    def _last_line(self) -> str:
        lines = (self._folder / "serve.log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it printed nothing"

    def _stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_ports() -> tuple[int, int]:
    place = ("127.0.0.1", 0)
    with socket.create_server(place) as first, socket.create_server(place) as second:
        return first.getsockname()[1], second.getsockname()[1]


def _tree(pid: int) -> list[int]:
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pids += _tree(int(child))
    return pids


def _memory(pid: int) -> int:
    """Return the proportional set size in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024
