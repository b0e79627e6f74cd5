"""Score windows in other processes, several models at a time.

The jobs of one model run one at a time and in their order; models take turns (`lanes.py`). If a
process dies over a job or exceeds a limit, the job is retried once, and other models go ahead
meanwhile. The last try leaves out images that clients sent. A job that fails again is answered with
the error and marked as poison. A process that ends because something is missing, such as the
registry, is another matter: its job has more tries, after longer pauses. If the process cannot even
start in the last try, no job can be scored: the jobs stay, and the pool fails.
"""

import logging
import threading
import time
from collections.abc import Sequence

from msgspec.structs import replace

from monitoring.errors import ScoringUnavailable
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.lanes import Attempt, Lanes
from monitoring.scoring.process import FailedTry, JobLimits, ScoringProcess

_logger = logging.getLogger(__name__)
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try
_TRIES_BY_JOB = 2
_IDLE = 300.0  # idle seconds after which a second or further process is ended
_UNLIMITED = JobLimits()


class ScorerPool:
    """Score windows in up to `scorers` processes; implements `monitoring.scoring.queue.Scorer`.

    Call its methods from one thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        scorers: int = 1,
        limits: JobLimits = _UNLIMITED,
        pauses: Sequence[float] = _PAUSES,
    ) -> None:
        """`command` runs a process (see `scoring_command`); each starts when it is needed.

        A job has one try more than there are `pauses`, and at most two that it ended itself.
        """
        self._pauses = pauses
        self._lanes = Lanes()
        self._replies: list[ScoreReply] = []
        self._waiting = 0
        self._closing = False
        self._failure = ""  # why no process can start
        self._idle = 0  # running processes without a job
        self._changed = threading.Condition()
        self._processes = [ScoringProcess(command, limits) for _ in range(scorers)]
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"scoring-{number}")
            for number in range(scorers)
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def submit(self, job: ScoreJob) -> None:
        """Queue a job; never blocks."""
        self._waiting += 1
        with self._changed:
            self._lanes.add(job)
            self._changed.notify_all()

    def replies(self) -> list[ScoreReply]:
        """Return the finished jobs' replies, each model's in the order of its jobs; no blocking.

        Raises ScoringUnavailable if no process can start.
        """
        with self._changed:
            if self._failure:
                raise ScoringUnavailable(self._failure)
            finished, self._replies = self._replies, []
        self._waiting -= len(finished)
        return finished

    @property
    def waiting(self) -> int:
        """Jobs whose reply has not been returned yet."""
        return self._waiting

    def close(self) -> None:
        """End the processes; current jobs are abandoned."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        process = self._processes[number]
        while (attempt := self._next(process, extra=number > 0)) is not None:
            outcome = process.score(attempt.job)
            with self._changed:
                if self._closing:
                    break
                self._finish(attempt, outcome)
                self._changed.notify_all()
        process.end()

    def _next(self, process: ScoringProcess, *, extra: bool) -> Attempt | None:
        """Wait for a job; None: the pool is closing.

        A job goes to a process that runs, if one is idle.
        """
        with self._changed:
            self._idle += process.running
            idle_since = time.monotonic()
            while not self._closing:
                now = time.monotonic()
                attempt = None
                if process.running or not self._idle:
                    attempt = self._lanes.take(now)
                if attempt is not None:
                    self._idle -= process.running
                    return attempt
                if extra and process.running and now - idle_since >= _IDLE:
                    self._idle -= 1
                    process.end()
                due = self._lanes.next_time()
                pause = _IDLE if due is None or due <= now else due - now
                self._changed.wait(pause)
            return None

    def _finish(self, attempt: Attempt, outcome: ScoreReply | FailedTry) -> None:
        if isinstance(outcome, ScoreReply):
            self._lanes.finish(attempt)
            self._replies.append(outcome)
            return
        job = attempt.job
        _logger.warning("window of %s version %s: %s", job.model, job.version, outcome.reason)
        attempt.tries += 1
        attempt.by_job += outcome.by_job
        if attempt.tries <= len(self._pauses) and attempt.by_job < _TRIES_BY_JOB:
            pause = self._pauses[attempt.tries - 1]
            last = attempt.tries == len(self._pauses)
            if job.files and (last or attempt.by_job == _TRIES_BY_JOB - 1):
                attempt.job = replace(job, files=[])
            self._lanes.retry(attempt, time.monotonic() + pause)
            return
        if not outcome.started:
            self._failure = (
                f"the scoring process cannot start, {attempt.tries} tries in a row: it "
                f"{outcome.reason}; the lines above say why"
            )
            return
        self._lanes.finish(attempt)
        error = (
            f"could not be scored: the scoring process {outcome.reason}, in the last of "
            f"{attempt.tries} tries"
        )
        self._replies.append(ScoreReply(key=job.key, scores=[], error=error, poison=True))
