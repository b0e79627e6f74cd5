"""Order scoring jobs: each model's one at a time and in their order, the models in turn. Pure.

A job that failed stays first in its lane and is retried after a pause; other models go ahead.
"""

from collections import deque

from monitoring.score_jobs import ScoreJob


class Attempt:
    """A job, and the tries that it has taken."""

    def __init__(self, job: ScoreJob) -> None:
        """No try has been made."""
        self.job = job
        self.tries = 0
        self.by_job = 0  # tries that the job itself ended, by its death or at a limit


class Lanes:
    """The jobs that are not finished. Use under a lock."""

    def __init__(self) -> None:
        """Start without jobs."""
        self._lanes: dict[str, deque[Attempt]] = {}  # keyed by model, the next in turn first
        self._not_before: dict[str, float] = {}  # model: time of the next attempt
        self._running: set[str] = set()

    def add(self, job: ScoreJob) -> None:
        """Queue a job after the others of its model."""
        self._lanes.setdefault(job.model, deque()).append(Attempt(job))

    def take(self, now: float) -> Attempt | None:
        """Return the next job to run; None if no model has one that may run now."""
        for model, lane in self._lanes.items():
            if model not in self._running and self._not_before.get(model, now) <= now:
                self._running.add(model)
                return lane[0]
        return None

    def finish(self, attempt: Attempt) -> None:
        """Remove a job that ran; its model is last in turn."""
        self._rest(attempt.job.model).popleft()
        self._drop_empty(attempt.job.model)

    def retry(self, attempt: Attempt, not_before: float) -> None:
        """Run a job that ran once more, not before a time; its model is last in turn."""
        self._rest(attempt.job.model)
        self._not_before[attempt.job.model] = not_before

    def next_time(self) -> float | None:
        """Return the earliest time at which a paused model may run; None if none is paused."""
        paused = (t for model, t in self._not_before.items() if model not in self._running)
        return min(paused, default=None)

    def _rest(self, model: str) -> deque[Attempt]:
        self._running.discard(model)
        self._not_before.pop(model, None)
        lane = self._lanes[model] = self._lanes.pop(model)
        return lane

    def _drop_empty(self, model: str) -> None:
        if not self._lanes[model]:
            del self._lanes[model]
