"""Registrations and gate runs of a registry server, each in a separate process.

A second request for a running job returns the same job. When the server stops, it kills its jobs.
The caller can then repeat the request, because no request registers a version twice.
"""

import asyncio
import hashlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from driftline.remote.job import RESULT
from driftline.remote.work import JobResult, JobView, RemoteJob
from eventlog.errors import DriftlineError
from eventlog.parent_death import child_environment

# -P, because a folder registry/ in the current folder must not shadow Driftline's package.
_COMMAND = (sys.executable, "-P", "-m", "driftline.remote.job")
_MOST_LINES = 10_000  # per job
_LONGEST_LINE = 1 << 16  # bytes
_RETENTION_S = 3_600.0  # seconds from the end of a job until its result is deleted
_MOST_ENDED = 1_000  # maximum number of ended jobs

_logger = logging.getLogger(__name__)


class TooManyJobs(DriftlineError):
    """The server already runs its maximum number of jobs."""


class UnknownJob(DriftlineError):
    """The caller has no such job: it has expired, or the server was restarted."""


class _Running:
    def __init__(self, job: RemoteJob) -> None:
        self.job = job
        self.lines: list[str] = []
        self.result: JobResult | None = None
        self.ended = 0.0
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Jobs:
    """The jobs of one server; used from one event loop."""

    def __init__(self, most: int, command: tuple[str, ...] = _COMMAND) -> None:
        self._most = most
        self._command = command
        self._jobs: dict[str, _Running] = {}

    def start(self, job: RemoteJob) -> str:
        """Start a job unless an equal job is running; return its id. Raises TooManyJobs."""
        self._expire()
        identity = hashlib.sha256(msgspec.json.encode(job, order="sorted")).hexdigest()[:32]
        earlier_job = self._jobs.get(identity)
        if earlier_job is not None and earlier_job.result is None:
            return identity
        if sum(job.result is None for job in self._jobs.values()) >= self._most:
            raise TooManyJobs(
                f"{self._most} registrations or gate runs are running; try again later"
            )
        running = self._jobs[identity] = _Running(job)
        running.task = asyncio.create_task(self._run(running))
        return identity

    async def view(self, identity: str, actor: str, after: int, wait: float) -> JobView:
        """Return the state of an actor's job, with its lines after the first `after` lines.

        Waits at most `wait` seconds for new lines or the job's end. Raises UnknownJob.
        """
        job = self._jobs.get(identity)
        if job is None or job.job.actor != actor:
            raise UnknownJob("no such job: the server was restarted; repeat the command")
        if job.result is None and len(job.lines) <= after:
            with suppress(TimeoutError):
                await asyncio.wait_for(job.changed.wait(), wait)
        return JobView(
            id=identity,
            ended=job.result is not None,
            lines=job.lines[after:],
            result=job.result,
        )

    async def close(self) -> None:
        """Kill all running jobs."""
        for job in self._jobs.values():
            if job.task is not None and not job.task.done():
                job.task.cancel()
                with suppress(asyncio.CancelledError):
                    await job.task

    async def _run(self, running: _Running) -> None:
        folder = Path(tempfile.mkdtemp(prefix="driftline-job-", dir=running.job.folder or None))
        result = JobResult(kind="Ended", error="the job's process was killed", passed=False)
        try:
            status = await self._follow(running, folder)
            result = _result(folder, status)
        except OSError as error:
            result = JobResult(kind="OSError", error=str(error.strerror), passed=False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if result.fault:
                _logger.error("a job of %s failed: %s", running.job.actor, result.fault)
                result = replace(result, fault="")
            running.result, running.ended = result, time.monotonic()
            _wake(running)

    async def _follow(self, running: _Running, folder: Path) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            str(folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LONGEST_LINE,
            env={**child_environment(), "COLUMNS": "100", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(msgspec.json.encode(running.job))
                process.stdin.close()
            buffer = b""
            while chunk := await process.stdout.read(_LONGEST_LINE):
                *lines, buffer = (buffer + chunk).split(b"\n")
                _add(running, lines)
                buffer = buffer[:_LONGEST_LINE]
            _add(running, [buffer] if buffer else [])
            return await process.wait()
        finally:
            with suppress(ProcessLookupError):  # kills the process group, which includes children
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _expire(self) -> None:
        oldest = time.monotonic() - _RETENTION_S
        ended = sorted(
            (job.ended, identity) for identity, job in self._jobs.items() if job.result is not None
        )
        surplus = len(ended) - _MOST_ENDED
        for place, (at, identity) in enumerate(ended):
            if at < oldest or place < surplus:
                del self._jobs[identity]


def _add(running: _Running, lines: list[bytes]) -> None:
    room = _MOST_LINES - len(running.lines)
    running.lines += [line.decode(errors="replace") for line in lines[:room]]
    if lines:
        _wake(running)


def _wake(running: _Running) -> None:
    running.changed.set()
    running.changed = asyncio.Event()


def _result(folder: Path, status: int) -> JobResult:
    try:
        return msgspec.json.decode((folder / RESULT).read_bytes(), type=JobResult)
    except (OSError, msgspec.DecodeError):
        ended = (
            f"was killed by {signal.Signals(-status).name}"
            if status < 0
            else f"exited with status {status}"
        )
        return JobResult(kind="Ended", error=f"the job's process {ended}", passed=False)
