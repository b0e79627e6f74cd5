"""Kill and freeze processes without warning: the only crash injector of the tests."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

_PATIENCE = 180.0  # seconds until the kernel has ended a killed process on a busy machine


def kill(process: "subprocess.Popen[Any]") -> None:
    """Kill one process, if it still runs, and none of its children."""
    process.kill()
    process.wait()


def kill_pid(pid: int) -> None:
    """Kill a process that this one did not start; it may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_session(process: "subprocess.Popen[Any]") -> None:
    """Kill a process that leads a session, and all of the session, unless it has ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_tree(process: "subprocess.Popen[Any]", *, spare_children: bool = False) -> None:
    """Kill a process and its descendants, or let those end by themselves; return once all have."""
    children = psutil.Process(process.pid).children(recursive=True)
    kill(process)
    for child in children:
        if not spare_children:
            kill_pid(child.pid)
    _, alive = psutil.wait_procs(children, timeout=_PATIENCE)
    assert not alive, f"left of {process.args!r}: {alive}"


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process while the block runs; its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def serving_workers(supervisor: int) -> list[psutil.Process]:
    """Return the workers of `driftline serve`, by the pid of its supervisor."""
    found = []
    for child in psutil.Process(supervisor).children():
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and child.name() != "fork-server":
                found.append(child)
    return found


def replace_worker(supervisor: int) -> None:
    """Kill one worker, and wait until another process has taken its place."""
    before = serving_workers(supervisor)
    before[0].kill()
    deadline = time.monotonic() + _PATIENCE
    while len(set(serving_workers(supervisor)) - {before[0]}) < len(before):
        assert time.monotonic() < deadline, "no worker took the place of the killed one"
        time.sleep(0.02)
