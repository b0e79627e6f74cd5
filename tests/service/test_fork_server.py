"""A worker started by the fork server behaves like a child process of the supervisor."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux adopts orphans")

_WORKER = """
import json, os, socket, sys
held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")]
listener = socket.socket(fileno=int(sys.argv[2]))
print(json.dumps({"parent": os.getppid(), "pid": os.getpid(), "session": os.getsid(0),
                  "folder": os.getcwd(), "environment": dict(os.environ), "held": held,
                  "port": listener.getsockname()[1], "imported": "decimal" in sys.modules}))
sys.exit(int(os.environ["STATUS"]))
"""
_SUPERVISOR = """
import json, os, signal, socket, sys
lock = open("lock", "w")
connection = open("connection", "w")
from service.fork_server import ForkServer, WorkerCommand, descriptors
private = descriptors()
import decimal
number = connection.fileno()
connection.close()
metrics = open("metrics", "w")  # what the import opens
assert metrics.fileno() == number
server = ForkServer.start(private)
listener = socket.create_server(("127.0.0.1", 0))
def spawn(**environment):
    command = WorkerCommand("a_worker", ["--fd", "?"], environment, sys.argv[1], 1)
    return server.spawn(command, listener.fileno())
def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({"pid": os.getpid(), "port": listener.getsockname()[1],
                  "statuses": [status(spawn(STATUS="0")), status(spawn(STATUS="7"))],
                  "failed": status(spawn())}))
os.kill(int(open("/proc/self/task/%d/children" % os.getpid()).read()), signal.SIGKILL)
os.wait()
try:
    spawn(STATUS="0")
except OSError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    folder = tmp_path_factory.mktemp("fork")
    (folder / "a_worker.py").write_text(_WORKER)
    path = f"{folder}:{Path(__file__).parents[2]}"
    return subprocess.run(
        [sys.executable, "-c", _SUPERVISOR, str(folder)],
        cwd=folder,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )


def _lines(ran: "subprocess.CompletedProcess[str]") -> list[Any]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_a_worker_is_a_child_of_the_supervisor(ran: "subprocess.CompletedProcess[str]") -> None:
    *workers, supervisor, _ = _lines(ran)
    assert [one["parent"] for one in workers] == [supervisor["pid"]] * 3
    assert [one["session"] for one in workers] == [one["pid"] for one in workers]
    assert [one["port"] for one in workers] == [supervisor["port"]] * 3


def test_exit_statuses_reach_the_supervisor(ran: "subprocess.CompletedProcess[str]") -> None:
    supervisor = _lines(ran)[-2]
    assert supervisor["statuses"] == [0, 7]
    assert supervisor["failed"] == 1
    assert "KeyError: 'STATUS'" in ran.stderr


def test_a_worker_has_its_environment_and_the_preloaded_modules(
    ran: "subprocess.CompletedProcess[str]",
) -> None:
    for worker, status in zip(_lines(ran), "07", strict=False):
        assert worker["environment"] == {"STATUS": status}
        assert worker["imported"]


def test_a_worker_inherits_no_lock_of_the_supervisor(
    ran: "subprocess.CompletedProcess[str]",
) -> None:
    for worker in _lines(ran)[:3]:
        assert not [path for path in worker["held"] if path.endswith("/lock")]


def test_a_worker_keeps_its_file_if_a_descriptor_number_is_reused(
    ran: "subprocess.CompletedProcess[str]",
) -> None:
    for worker in _lines(ran)[:3]:
        assert [path for path in worker["held"] if path.endswith("/metrics")]


def test_a_dead_fork_server_is_an_error(ran: "subprocess.CompletedProcess[str]") -> None:
    assert _lines(ran)[-1]
