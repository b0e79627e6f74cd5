"""Control of one scoring process, which is killed if a job needs too much time or memory."""

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

_CHECK_INTERVAL = 0.25  # seconds between checks of the process's time and memory
_MOST_STARVED = 9.0  # maximum wait for a busy processor, in multiples of a job's time limit
# Exit statuses, as in sysexits.h. EX_TEMPFAIL: the next try may succeed. EX_CONFIG: the process
# failed before its first job.
CANNOT_CONTINUE = 75
CANNOT_START = 78
_PAGE = os.sysconf("SC_PAGE_SIZE")


class JobLimits(msgspec.Struct, frozen=True):
    """The limits of one job; a process that exceeds a limit is killed."""

    # Includes the imports and calibration of a new process, but no waits for a busy processor.
    seconds: float = 300.0
    memory: int = 2 << 30  # bytes of the process, including cached references


class FailedTry(msgspec.Struct, frozen=True):
    """A try of a job without a reply."""

    reason: str
    # True if the job is the likely cause: it exceeded a limit or crashed the process. False if a
    # resource, such as the registry, was temporarily unavailable.
    by_job: bool = True
    started: bool = True  # whether the process started


def scoring_command(reports: Path) -> list[str]:
    """Return the command of the scoring process; reports are written to `reports`."""
    return [sys.executable, "-P", "-m", "monitoring.scoring", str(reports)]


class ScoringProcess:
    """A process that scores one job at a time; it starts with the first job.

    Only one thread may call `score`; any thread may call `kill`.
    """

    def __init__(self, command: Sequence[str], limits: JobLimits) -> None:
        """`command` starts the process (see `scoring_command`)."""
        self._command = command
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    @property
    def running(self) -> bool:
        """Whether the process was started and has not been ended."""
        return self._process is not None

    def score(self, job: ScoreJob) -> ScoreReply | FailedTry:
        """Score a job and return the reply; after a failed try, the process has ended."""
        process = self._process = self._process or self._start()
        if self._killed:  # `kill` may have been called before this process existed
            process.kill()
        with _within_limits(process, self._limits) as exceeded:
            reply = _exchange(process, job)
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
        """Kill the process, even during a job; no later job is scored."""
        self._killed = True
        if (process := self._process) is not None:
            process.kill()

    def end(self) -> int:
        """Kill the process and return its exit status; the next job starts a new process."""
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
def _within_limits(process: subprocess.Popen[bytes], limits: JobLimits) -> Iterator[list[str]]:
    """Kill the process if it exceeds a limit within the block; the list then has the reason."""
    exceeded: list[str] = []
    finished = threading.Event()

    def watch() -> None:
        start, starved_before = time.monotonic(), _starved(process.pid)
        while not finished.wait(min(_CHECK_INTERVAL, limits.seconds)):
            starved = min(_starved(process.pid) - starved_before, _MOST_STARVED * limits.seconds)
            if time.monotonic() - start - starved >= limits.seconds:
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
    """Return the resident memory of a process in bytes; 0 if the system does not report it."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _starved(pid: int) -> float:
    """Return the seconds in which a process was ready to run, but had no processor.

    These seconds do not count against a job's limit, because a busy machine is not the job's fault.
    Return 0 if the system does not report them.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _exchange(process: subprocess.Popen[bytes], job: ScoreJob) -> ScoreReply | None:
    """Return the process's reply to a job; None if the process died or wrote something else."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        write(process.stdin, job)
        return read(process.stdout, ScoreReply)
    except (OSError, msgspec.DecodeError):
        return None
