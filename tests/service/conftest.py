"""A real service in separate processes that serves the tiny classifier."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from eventlog.events import HeartbeatEvent
from eventlog.log import Record
from eventlog.parent_death import PARENT
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from registry.manifest import Version
from registry.store import Registry
from tests.preloaded import Command
from tests.tiny_model import register_tiny


class Service:
    """`driftline serve` on a home of its own.

    As a context it lends its home and its model store to this process, and ends with the block:

        with Service(root, free_port, workers="2") as service:
            service.start_champion()
            ...
    """

    def __init__(self, root: Path, free_port: Callable[[], int], **settings: str) -> None:
        self.root = root
        self.home = Home(root / "home")
        self.environment = {
            **os.environ,
            "DRIFTLINE_HOME": str(self.home.root),
            "BENTOML_HOME": str(root / "bentoml"),
            **{f"DRIFTLINE_SERVICE_{name.upper()}": value for name, value in settings.items()},
        }
        self.port, self.grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        self.process: subprocess.Popen[bytes] | None = None
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        for name in ("DRIFTLINE_HOME", "BENTOML_HOME"):
            self._patch.setenv(name, self.environment[name])
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        if self.process is not None:
            self.stop()

    @property
    def supervisor(self) -> int:
        """The pid of `driftline serve`."""
        assert self.process is not None
        return self.process.pid

    @property
    def registry(self) -> Registry:
        return Registry(self.home)

    def register(self, model: str = "tiny", **changes: Any) -> Version:
        """Register the classifier; the first version of a model is promoted, as by the command."""
        files = self.root / "files"
        return register_tiny(self.registry, files, model, promoted=True, **changes)

    def start_champion(self, **changes: Any) -> None:
        """Start with version 1 of `tiny` as its champion."""
        self.register(**changes)
        self.registry.promote("tiny", "1")
        self.start()

    def start(self) -> None:
        ports = ["--port", str(self.port), "--grpc-port", str(self.grpc_port)]
        command = [sys.executable, "-m", "driftline", "serve", *ports]
        log = (self.root / "serve.log").open("wb")
        environment = self.environment | {PARENT: str(os.getpid())}  # ends with a killed test run
        self.process = Command(command, env=environment, stdout=log, stderr=log)
        try:
            self.until(self.is_ready)
        except BaseException:
            self.stop()
            raise

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 180
        while not holds():
            assert time.monotonic() < deadline, self.said()
            assert self.process is not None
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        return (self.root / "serve.log").read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)

    def events(self) -> list[Record]:
        """What the log holds of requests and labels."""
        return [one for one in self.records() if not isinstance(one.event, HeartbeatEvent)]

    def records(self) -> list[Record]:
        """What the log holds."""
        reader = SegmentReader(self.home.log, {})
        records: list[Record] = []
        while found := reader.poll(1000):
            records.extend(found)
        reader.close()
        return records

    def is_ready(self) -> bool:
        try:
            return self.http.get("/v2/health/ready").is_success
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    """A running service with version 1 of `tiny` as its champion; its host is a name."""
    root = tmp_path_factory.mktemp("service")
    settings = {"host": "localhost", "max_body_bytes": "200000", "poll_interval_s": "0.1"}
    with Service(root, free_port, **settings) as service:
        service.start_champion()
        yield service
