"""Run one scoring process, and end it if a job needs too much time or memory."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from eventlog.parent_death import child_environment
from monitoring.score_jobs import ScoreJob, ScoreReply, read, write

_LOOK = 0.25  # seconds between checks of the process's memory
_MOST_STARVED = 9.0  # times a job's limit: for so long it may wait for a processor besides
CANNOT_CONTINUE = 75  # status of a process whose next try may succeed; EX_TEMPFAIL of sysexits.h
CANNOT_START = 78  # status of a process that failed before its first job; EX_CONFIG of sysexits.h
_PAGE = os.sysconf("SC_PAGE_SIZE")


class JobLimits(msgspec.Struct, frozen=True):
    """The bounds of one job; beyond them the process is ended."""

    # With the imports and calibration of a fresh process, without waits for a busy processor.
    seconds: float = 300.0
    memory: int = 2 << 30  # bytes of the process, cached references included


class FailedTry(msgspec.Struct, frozen=True):
    """The reason why a job has no reply."""

    reason: str
    # Whether the job is the likely cause: it exceeded a limit, or the process died of it. Else
    # something was missing that may be there soon, such as the registry.
    by_job: bool = True
    started: bool = True  # whether the process was ready for a job


def scoring_command(reports: Path) -> list[str]:
    """Return the command of the scoring process; reports are written to `reports`."""
    return [sys.executable, "-P", "-m", "monitoring.scoring", str(reports)]


class ScoringProcess:
    """A process that scores one job at a time; it starts with the first one.

    Call `score` from one thread, `kill` from any.
    """

    def __init__(self, command: Sequence[str], limits: JobLimits) -> None:
        """`command` runs the process (see `scoring_command`)."""
        self._command = command
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None

    def score(self, job: ScoreJob) -> ScoreReply | FailedTry:
        """Return the reply, or why there is none; the process has then ended."""
        process = self._process = self._process or self._start()
        if self._killed:  # `kill` may have looked before this process was there
            process.kill()
        with _bounded(process, self._limits) as exceeded:
            reply = _ask(process, job)
        if reply is not None:
            return reply
        status = self.end()
        if exceeded:
            return FailedTry(exceeded[0])
        return FailedTry(
            f"ended with status {status}",
            by_job=status not in {CANNOT_CONTINUE, CANNOT_START},
            started=status != CANNOT_START,
        )

    def kill(self) -> None:
        """End the process in the middle of its job, for good."""
        self._killed = True
        if (process := self._process) is not None:
            process.kill()

    def end(self) -> int:
        """End the process and return its status; the next job starts another."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        with suppress(BrokenPipeError), process:  # closes the pipes and waits
            pass
        return process.returncode

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter on our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**child_environment(), "DO_NOT_TRACK": "1"},
        )


@contextmanager
def _bounded(process: subprocess.Popen[bytes], limits: JobLimits) -> Iterator[list[str]]:
    """Kill the process if it exceeds a limit meanwhile; the list then says which."""
    exceeded: list[str] = []
    finished = threading.Event()

    def watch() -> None:
        begun, starved_before = time.monotonic(), _starved(process.pid)
        while not finished.wait(min(_LOOK, limits.seconds)):
            starved = min(_starved(process.pid) - starved_before, _MOST_STARVED * limits.seconds)
            if time.monotonic() - begun - starved >= limits.seconds:
                exceeded.append(f"did not reply within {limits.seconds:g} seconds")
            elif _resident(process.pid) > limits.memory:
                exceeded.append(f"needed more than {limits.memory >> 20:,} MiB of memory")
            if exceeded:
                process.kill()
                return

    watchdog = threading.Thread(target=watch, name="scoring limits", daemon=True)
    watchdog.start()
    try:
        yield exceeded
    finally:
        finished.set()
        watchdog.join()


def _resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 if the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _starved(pid: int) -> float:
    """Return for how many seconds a process was ready to run, but had no processor.

    A job is not to blame for a busy machine. 0 if the system does not report it.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _ask(process: subprocess.Popen[bytes], job: ScoreJob) -> ScoreReply | None:
    """Return the reply; None if the process died over it or wrote something else."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        write(process.stdin, job)
        return read(process.stdout, ScoreReply)
    except (OSError, msgspec.DecodeError):
        return None
