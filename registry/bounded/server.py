"""The process that forks one child for each check: `python -P -m registry.bounded.server`.

The server imports all modules that a check needs, so that children start quickly, but runs no
model itself. It reads one job at a time, a line of JSON, and replies with the child's wait status.
"""

import ctypes
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

import msgspec

from registry.bounded.job import FULL, NO_MEMORY, CheckJob, CheckStatus
from registry.preparation import check_files

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
_CHUNK = 1 << 16


def main() -> None:
    """Serve jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C, the caller closes standard input
    buffer = b""
    while data := os.read(0, _CHUNK):
        buffer += data
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            status = _run(msgspec.json.decode(line, type=CheckJob))
            os.write(1, msgspec.json.encode(CheckStatus(status)) + b"\n")


def _run(job: CheckJob) -> int | None:
    """Run the job in a child; return its wait status, or None if it took too long."""
    ended, childs_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work(job)
    os.close(childs_end)
    try:
        in_time = _wait(ended, job.seconds)
    finally:
        os.close(ended)
        if not _has_ended(pid):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return status if in_time else None


def _wait(ended: int, seconds: float) -> bool:
    """Return whether the child ends in time; exit if the caller has ended."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(ended, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            if any(key.fd == ended for key, _ in ready):
                return True
            if not os.read(0, 1):
                raise SystemExit(0)


def _has_ended(pid: int) -> bool:
    child = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return child is not None


def _work(job: CheckJob) -> None:
    """Do the job in this child process, and exit."""
    status = 1
    try:
        os.setsid()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if job.memory:
            resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        check_files(Path(job.folder), job.seconds)
        status = 0
    except MemoryError:
        status = NO_MEMORY
    except OSError as error:
        status = error.errno if error.errno in {*FULL, NO_MEMORY} else 1
        if status == 1:
            traceback.print_exc()
    except BaseException:  # noqa: BLE001  # a bug: the caller gets exit status 1
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
