"""The supervisor restarts its child processes and stops them in order."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from driftline import supervisor as supervisor_module
from driftline.supervisor import Child, Supervisor
from tests.crash import kill_pid

# A child that serves its own pid and writes down its birth and its orderly death.
SERVER = """
import http.server, os, pathlib, signal, sys
name, port, diary = sys.argv[1:]
def write(line):
    with open(diary, "a") as file:
        file.write(line + "\\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *args):
        pass
def end(*_):
    write("end " + name)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
server = http.server.HTTPServer(("127.0.0.1", int(port)), Handler)
write(f"begin {name} {os.getpid()}")
server.serve_forever()
"""


def _child(name: str, port: int, diary: Path) -> Child:
    command = [sys.executable, "-c", SERVER, name, str(port), str(diary)]
    return Child(name, command, f"http://127.0.0.1:{port}/")


async def _diary(path: Path, lines: int) -> list[str]:
    async with asyncio.timeout(180):
        while not path.exists() or len(path.read_text().splitlines()) < lines:
            await asyncio.sleep(0.05)
    return path.read_text().splitlines()


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


async def test_child_processes_are_stopped_in_the_given_order(
    diary: Path, free_port: Callable[[], int]
) -> None:
    children = [_child("first", free_port(), diary), _child("second", free_port(), diary)]
    supervisor = Supervisor(children, print, grace=180)
    running = asyncio.create_task(supervisor.run())
    assert await supervisor.ready()
    supervisor.stop()
    assert await running == 0
    assert diary.read_text().splitlines()[2:] == ["end first", "end second"]


async def test_a_child_process_that_dies_is_restarted(
    diary: Path, free_port: Callable[[], int]
) -> None:
    supervisor = Supervisor([_child("only", free_port(), diary)], print, grace=180)
    running = asyncio.create_task(supervisor.run())
    assert await supervisor.ready()
    first = (await _diary(diary, 1))[0]
    kill_pid(int(first.split()[2]))
    second = (await _diary(diary, 2))[1]
    assert second.startswith("begin only")
    assert second != first
    supervisor.stop()
    assert await running == 0


async def test_a_child_process_that_cannot_start_stops_the_supervisor(
    diary: Path, free_port: Callable[[], int]
) -> None:
    said: list[str] = []
    broken = Child("broken", [sys.executable, "-c", "raise SystemExit(3)"], "http://127.0.0.1:1/")
    supervisor = Supervisor([_child("sound", free_port(), diary), broken], said.append, grace=180)
    running = asyncio.create_task(supervisor.run())
    assert not await supervisor.ready()
    assert await running == 1
    assert said == ["broken could not start (exit status 3)"]


async def test_a_child_process_that_ignores_the_signal_is_killed_after_the_grace_period(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    deaf = SERVER.replace("signal.signal(signal.SIGTERM, end)", "signal.signal(15, signal.SIG_IGN)")
    port = free_port()
    command = [sys.executable, "-c", deaf, "deaf", str(port), str(tmp_path / "diary")]
    supervisor = Supervisor([Child("deaf", command, f"http://127.0.0.1:{port}/")], print, 0.2)
    running = asyncio.create_task(supervisor.run())
    assert await supervisor.ready()
    supervisor.stop()
    assert await running == 0


async def test_a_child_process_that_cannot_be_restarted_stops_the_supervisor(
    diary: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_PAUSE", 0.0)
    said: list[str] = []
    once = f"import os, sys\nif os.path.exists({str(diary)!r}): sys.exit(3)\n" + SERVER
    port = free_port()
    command = [sys.executable, "-c", once, "only", str(port), str(diary)]
    supervisor = Supervisor(
        [Child("only", command, f"http://127.0.0.1:{port}/")], said.append, grace=180
    )
    running = asyncio.create_task(supervisor.run())
    assert await supervisor.ready()
    kill_pid(int((await _diary(diary, 1))[0].split()[2]))
    assert await running == 1
    assert said[-1] == "only could not start 5 times in a row (exit status 3)"
    assert len(said) == 6
