"""Run the scoring process from the monitor.

One job runs at a time; a thread writes it and waits for the reply. If the process dies or does not
reply in time, it is started again and the job is retried after a pause, longer each time. A job
that fails every try is answered with the error and marked as poison.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from eventlog.parent_death import child_environment
from monitoring.score_jobs import ScoreJob, ScoreReply, read, write

_logger = logging.getLogger(__name__)
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try
_TIMEOUT = 900.0  # seconds for one job, with the imports and calibration of a fresh process


def scoring_command(reports: Path) -> list[str]:
    """Return the command of the scoring process; reports are written to `reports`."""
    return [sys.executable, "-P", "-m", "monitoring.scoring", str(reports)]


class ScoringProcess:
    """Score windows in another process; implements `monitoring.scoring.queue.Scorer`.

    Call its methods from one thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout: float = _TIMEOUT,
        pauses: Sequence[float] = _PAUSES,
    ) -> None:
        """`command` runs the process (see `scoring_command`); it starts with the first job.

        A job has `timeout` seconds, and one try more than there are `pauses`.
        """
        self._command = command
        self._timeout = timeout
        self._pauses = pauses
        self._jobs: SimpleQueue[ScoreJob | None] = SimpleQueue()
        self._replies: SimpleQueue[ScoreReply] = SimpleQueue()
        self._waiting = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    def submit(self, job: ScoreJob) -> None:
        """Queue a job; never blocks."""
        self._waiting += 1
        self._jobs.put(job)

    def replies(self) -> list[ScoreReply]:
        """Return the finished jobs' replies, in the order of the jobs; never blocks."""
        finished: list[ScoreReply] = []
        while True:
            try:
                finished.append(self._replies.get_nowait())
            except Empty:
                self._waiting -= len(finished)
                return finished

    @property
    def waiting(self) -> int:
        """Jobs whose reply has not been returned yet."""
        return self._waiting

    def close(self) -> None:
        """End the process; the current job is abandoned."""
        self._closing.set()
        self._jobs.put(None)
        if self._process is not None:
            self._process.kill()
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closing.is_set():
            reply = self._score(job)
            if reply is not None:
                self._replies.put(reply)
        if self._process is not None:
            self._end(self._process)

    def _score(self, job: ScoreJob) -> ScoreReply | None:
        """Return the reply; None if the process was closed meanwhile."""
        reason = ""
        for pause in (0.0, *self._pauses):
            if self._closing.wait(pause):
                return None
            process = self._process = self._process or self._start()
            if self._closing.is_set():  # `close` may have looked before this process was there
                return None
            overdue = threading.Event()
            watchdog = threading.Timer(self._timeout, _stop, (process, overdue))
            watchdog.daemon = True
            watchdog.start()
            reply = _ask(process, job)
            watchdog.cancel()
            if reply is not None:
                return reply
            status = self._end(process)
            reason = f"ended with status {status}"
            if overdue.is_set():
                reason = f"did not reply within {self._timeout:g} seconds"
            _logger.warning("window of %s version %s: %s", job.model, job.version, reason)
        tries = len(self._pauses) + 1
        error = f"could not be scored: the scoring process {reason}, in the last of {tries} tries"
        return ScoreReply(key=job.key, scores=[], error=error, poison=True)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter on our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**child_environment(), "DO_NOT_TRACK": "1"},
        )

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        process.kill()
        self._process = None
        with suppress(BrokenPipeError), process:  # closes the pipes and waits
            pass
        return process.returncode


def _ask(process: subprocess.Popen[bytes], job: ScoreJob) -> ScoreReply | None:
    """Return the reply; None if the process died over it or wrote something else."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        write(process.stdin, job)
        return read(process.stdout, ScoreReply)
    except (OSError, msgspec.DecodeError):
        return None


def _stop(process: subprocess.Popen[bytes], overdue: threading.Event) -> None:
    overdue.set()
    process.kill()
