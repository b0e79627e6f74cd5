"""Score windows in other processes, several models at the same time.

A model's jobs run one at a time, in their order, and models take turns (`lanes.py`). If a process
crashes or exceeds a limit during a job, the job is retried once, while other models' jobs continue.
The last try omits images that clients sent. If the job fails again, its reply contains the error
and marks the job as poison. If a process exits because something is unavailable, such as the
registry, its job has more tries, after longer pauses. If the process does not even start in the
last try, no job can be scored. The jobs then stay queued, and the pool fails.
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
_TRIES_BY_JOB = 2  # maximum tries that fail because of the job itself
_IDLE = 300.0  # idle seconds after which every process but the first is ended
_UNLIMITED = JobLimits()


class ScorerPool:
    """Scores windows in up to `scorers` processes; implements `monitoring.scoring.queue.Scorer`.

    Only one thread may call its methods.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        scorers: int = 1,
        limits: JobLimits = _UNLIMITED,
        pauses: Sequence[float] = _PAUSES,
    ) -> None:
        """`command` starts a process (see `scoring_command`); processes start when needed.

        `pauses` are the seconds before each further try of a job. A job that itself causes two
        failures is not tried again.
        """
        self._pauses = pauses
        self._lanes = Lanes()
        self._replies: list[ScoreReply] = []
        self._waiting = 0
        self._closing = False
        self._failure = ""  # reason why no process can start
        self._idle = 0  # number of running processes without a job
        self._changed = threading.Condition()
        self._processes = [ScoringProcess(command, limits) for _ in range(scorers)]
        self._threads = [
            threading.Thread(target=self._score_jobs, args=(number,), name=f"scoring-{number}")
            for number in range(scorers)
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def submit(self, job: ScoreJob) -> None:
        """Queue a job without blocking."""
        self._waiting += 1
        with self._changed:
            self._lanes.add(job)
            self._changed.notify_all()

    def replies(self) -> list[ScoreReply]:
        """Return the replies of finished jobs without blocking, in the order of each model's jobs.

        Raises:
            ScoringUnavailable: no process can start.
        """
        with self._changed:
            if self._failure:
                raise ScoringUnavailable(self._failure)
            finished, self._replies = self._replies, []
        self._waiting -= len(finished)
        return finished

    @property
    def waiting(self) -> int:
        """The number of jobs whose reply has not been returned."""
        return self._waiting

    def close(self) -> None:
        """Kill the processes; running jobs are abandoned."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()

    def _score_jobs(self, number: int) -> None:
        process = self._processes[number]
        while (attempt := self._next_attempt(process, extra=number > 0)) is not None:
            outcome = process.score(attempt.job)
            with self._changed:
                if self._closing:
                    break
                self._finish(attempt, outcome)
                self._changed.notify_all()
        process.end()

    def _next_attempt(self, process: ScoringProcess, *, extra: bool) -> Attempt | None:
        """Wait for a job and return it; return None if the pool is closing.

        If a running process is idle, a job is not given to a process that would have to start.
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
                f"{outcome.reason}; the log lines above state the reason"
            )
            return
        self._lanes.finish(attempt)
        error = (
            f"could not be scored: the scoring process {outcome.reason}, in the last of "
            f"{attempt.tries} tries"
        )
        self._replies.append(ScoreReply(key=job.key, scores=[], error=error, poison=True))
