"""The system under test, started by its commands in separate processes."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import onnx
import psutil
from onnx import TensorProto, helper

from tests.crash import frozen, kill_session, kill_tree
from tests.oracle.disk import Disk
from tests.preloaded import Command, run

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
START = 180.0  # seconds


class System:
    """A home with a service of some workers, and a monitor of its log."""

    def __init__(
        self,
        root: Path,
        workers: int,
        prefix: Sequence[str] = (),
        *,
        own_clock: bool = False,
        **settings: str,
    ) -> None:
        """`prefix` is a command that runs the product's; `settings` name DRIFTLINE_<NAME>.

        With `own_clock`, which needs libfaketime, the system's clock can be moved.
        """
        self._root, self._prefix = root, prefix
        self.models = root / "bentoml" / "models"
        self.log = root / "home" / "log"
        self.port, self.grpc_port, self._page = (_free_port() for _ in range(3))
        self._environment = {
            **os.environ,
            "DRIFTLINE_HOME": str(root / "home"),
            "BENTOML_HOME": str(root / "bentoml"),
            "DRIFTLINE_SERVICE_WORKERS": str(workers),
            "DRIFTLINE_LOG_DURABILITY": "disk",
            "DRIFTLINE_LOG_RESERVE_BYTES": "65536",
            **{f"DRIFTLINE_{name}": value for name, value in settings.items()},
        }
        self.disk = Disk(self.log)
        self._clock = root / "clock"
        if own_clock:
            self.move_clock(0)
            # Elapsed time stays true, as it does when a machine's clock is set.
            self._environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self._service: subprocess.Popen[bytes] | None = None
        self._monitor: subprocess.Popen[bytes] | None = None

    def register(self, *options: str) -> None:
        path = str(self.model())
        assert self.run("register", path, "--name", "oracle", *options).returncode == 0

    def model(self, operator: str = "Add") -> Path:
        """A model that was registered as `oracle`, or is to be."""
        path = self._root / f"{operator}.onnx"
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
        graph = helper.make_graph([helper.make_node(operator, ["x", "x"], ["y"])], "g", [x], [y])
        opset = helper.make_opsetid("", 17)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
        return path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the product's commands to its end."""
        command = [*self._prefix, sys.executable, "-m", "driftline", *arguments]
        environment = self._environment | {"COLUMNS": "200"}
        return run(command, env=environment)

    def start_service(self, *, wait: bool = True) -> None:
        ports = ["--port", str(self.port), "--grpc-port", str(self.grpc_port)]
        self._service = self._start("service", "serve", *ports)
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        assert self._service is not None
        deadline = time.monotonic() + START
        while not self._ready():
            assert time.monotonic() < deadline, "the service is not ready"
            assert self._service.poll() is None, (self._root / "service.log").read_text()
            time.sleep(0.1)

    def start_monitor(self) -> None:
        self._monitor = self._start("monitor", "monitor", "--port", str(self._page))

    def kill_service(self) -> None:
        """Kill the supervisor and wait until its workers have ended."""
        assert self._service is not None
        kill_tree(self._service, spare_children=True)

    def kill_command(self, seconds: float, *arguments: str) -> None:
        """Start one of the product's commands, and kill it after a time."""
        process = self._start("command", *arguments)
        time.sleep(seconds)  # not to wait for anything: to end anywhere
        kill_session(process)

    def kill_monitor(self) -> None:
        assert self._monitor is not None
        kill_tree(self._monitor)

    def kill_worker(self) -> None:
        self._worker().kill()

    def freeze_worker(self, seconds: float) -> None:
        """Stop a worker for a time; return at once."""
        worker = self._worker()

        def freeze() -> None:
            with frozen(worker.pid):
                stopped.set()
                time.sleep(seconds)  # the fault itself, not to wait for anything

        stopped = threading.Event()
        threading.Thread(target=freeze).start()
        stopped.wait()

    def move_clock(self, seconds: int) -> None:
        """Set the clock of every process of the system, against this machine's."""
        self._clock.write_text(f"{seconds:+d}\n")

    def said(self, words: str) -> int:
        """How often the service has logged these words."""
        return (self._root / "service.log").read_text().count(words)

    def restore(self, copy: Path) -> None:
        """Replace the log by an older copy, while no service runs."""
        for path in self.log.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(copy, self.log, dirs_exist_ok=True)
        # Flushed, so that a later power cut does not lose what was restored before it.
        subprocess.run(["sync", "--file-system", self.log], check=True)

    def stop(self) -> None:
        for process in (self._service, self._monitor):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(120)

    def _worker(self) -> psutil.Process:
        """The worker that writes the newest segment."""
        assert self._service is not None
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            for child in psutil.Process(self._service.pid).children(recursive=True):
                try:
                    opened = [one.path for one in child.open_files()]
                except psutil.Error:
                    continue
                if any(path.startswith(str(self.log)) and ".log" in path for path in opened):
                    return child
            time.sleep(0.1)
        raise AssertionError("no worker writes to the log")

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._root / f"{name}.log").open("ab") as file:
            return Command(
                [*self._prefix, sys.executable, "-m", "driftline", *arguments],
                env=self._environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
