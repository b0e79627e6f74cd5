"""`driftline up` is killed in a folder whose modules have our modules' names."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventlog.settings import Home
from registry.store import Registry
from tests.crash import kill_pid
from tests.tiny_model import register_tiny

pytestmark = pytest.mark.timeout(900)  # four starts of a service, on a machine that is busy


class Up:
    """`driftline up` and everything that it starts, which all print to one pipe."""

    def __init__(self, root: Path, free_port: Callable[[], int]) -> None:
        self.home = Home(root / "home")
        self._folder = root / "current"
        names = ("--port", "--grpc-port", "--monitor-port")
        self._ports = [f"{name}={free_port()}" for name in names]
        self._process: subprocess.Popen[str] | None = None
        for package in ("monitoring", "registry", "eventlog"):
            (self._folder / package).mkdir(parents=True)
            (self._folder / package / "__init__.py").write_text("raise SystemExit('not ours')\n")
        (self._folder / "service.py").write_text("raise SystemExit('not ours')\n")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "driftline", "up", *self._ports],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.until("driftline: monitor ready")

    def until(self, words: str) -> None:
        """Read lines until one has the words."""
        assert self._process is not None
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            lines.append(line)
            if words in line:
                return
        raise AssertionError("".join(lines))

    def pid_of(self, role: str) -> int:
        """The pid that a part's lock names."""
        return int(json.loads(self.home.lock(role).read_bytes())["pid"])

    def kill(self) -> None:
        """Kill the supervisor alone, and wait until nothing that it started is left."""
        assert self._process is not None
        kill_pid(self._process.pid)
        self._process.communicate()  # up to the end: every process has closed the pipe

    def stop(self) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate()
        return self._process.returncode


@pytest.fixture
def up(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Up]:
    up = Up(tmp_path, free_port)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(up.home.root))
        patch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
        register_tiny(Registry(up.home), tmp_path / "files")
        yield up
        up.stop()


def test_a_killed_supervisor_leaves_no_process_and_starts_again(up: Up) -> None:
    up.start()
    kill_pid(up.pid_of("service"))  # whose workers hold its port until they end
    up.until("driftline: service exited (status -9); restart in")
    up.until("Completed async startup hook")
    up.kill()
    up.start()
    assert up.stop() == 0
