"""Order of scoring jobs: a model's jobs run one at a time, and models take turns. Pure.

Each model has a lane, the queue of its jobs in the order in which they were added. A failed job
stays first in its lane and is retried after a pause. Other models' jobs run in the meantime.
"""

from collections import deque

from monitoring.score_jobs import ScoreJob


class Attempt:
    """A job, with the number of its tries."""

    def __init__(self, job: ScoreJob) -> None:
        """Set a job that has not been tried."""
        self.job = job
        self.tries = 0
        self.by_job = 0  # number of tries that failed because of the job itself


class Lanes:
    """The unfinished jobs; not thread-safe, so callers need a lock."""

    def __init__(self) -> None:
        """Start without jobs."""
        self._lanes: dict[str, deque[Attempt]] = {}  # model -> its jobs; next model first
        self._not_before: dict[str, float] = {}  # model -> time of the next try
        self._running: set[str] = set()  # models with a running job

    def add(self, job: ScoreJob) -> None:
        """Add a job at the end of its model's lane."""
        self._lanes.setdefault(job.model, deque()).append(Attempt(job))

    def take(self, now: float) -> Attempt | None:
        """Return the next job to run, or None if no job can run now."""
        for model, lane in self._lanes.items():
            if model not in self._running and self._not_before.get(model, now) <= now:
                self._running.add(model)
                return lane[0]
        return None

    def finish(self, attempt: Attempt) -> None:
        """Remove a finished job, and move its model to the end of the order."""
        self._release(attempt.job.model).popleft()
        self._drop_empty(attempt.job.model)

    def retry(self, attempt: Attempt, not_before: float) -> None:
        """Schedule another try of a failed job, and move its model to the end of the order."""
        self._release(attempt.job.model)
        self._not_before[attempt.job.model] = not_before

    def next_time(self) -> float | None:
        """Return the earliest time at which a paused model can run; None if no model is paused."""
        paused = (t for model, t in self._not_before.items() if model not in self._running)
        return min(paused, default=None)

    def _release(self, model: str) -> deque[Attempt]:
        self._running.discard(model)
        self._not_before.pop(model, None)
        lane = self._lanes[model] = self._lanes.pop(model)
        return lane

    def _drop_empty(self, model: str) -> None:
        if not self._lanes[model]:
            del self._lanes[model]
