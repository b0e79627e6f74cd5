"""Queue scoring jobs: all in the database, the next few of each model in memory."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.lag import ScoringLag
from monitoring.storage.journal import Journal
from monitoring.storage.pending_scores import PendingScore, WaitingScore

IN_HAND = 16 << 20  # bytes of jobs, as stored in the database, that the scorer holds at once
_SHARE = 4  # parts of them; a model that holds one has to wait, so that others are scored


class Scorer(Protocol):
    """Score windows in the background; each model's replies come in the order of its jobs."""

    def submit(self, job: ScoreJob) -> None:
        """Queue a job; never blocks."""
        ...

    def replies(self) -> list[ScoreReply]:
        """Return the finished jobs' replies; never blocks."""
        ...

    @property
    def waiting(self) -> int:
        """Jobs whose reply has not been returned yet."""
        ...


class ScoringQueue:
    """Feed the scorer from the database, a bounded number of bytes at a time.

    Do not call within a transaction.
    """

    def __init__(self, journal: Journal, scorer: Scorer, lag: ScoringLag | None = None) -> None:
        """Load the jobs that were queued and not finished."""
        self._journal = journal
        self._lag = lag or ScoringLag()
        self._lag.restart()
        self._scorer = scorer
        self._waiting: dict[str, deque[WaitingScore]] = {}  # keyed by model, the next in turn first
        self._in_hand: dict[str, tuple[PendingScore, int]] = {}  # score's key: without rows
        self._held: dict[str, int] = {}  # bytes of the jobs in hand, by model
        self._held_bytes = 0  # total bytes of the jobs in memory
        self.size = 0  # bytes of all unfinished jobs
        self.add(journal.queued_jobs())

    def __len__(self) -> int:
        """Return jobs that are not finished."""
        return sum(map(len, self._waiting.values())) + len(self._in_hand)

    def add(self, decided: Iterable[WaitingScore]) -> None:
        """Queue more jobs."""
        for job in decided:
            self._waiting.setdefault(job.model, deque()).append(job)
            self._lag.queued([job.number])
            self.size += job.size

    def feed(self) -> list[ScoreJob]:
        """Submit the next jobs within the memory limit; return them without their rows.

        Models take turns, and none holds more than its share: the jobs of a model that cannot be
        scored do not keep those of others in the database.
        """
        begun: list[ScoreJob] = []
        while (job := self._next()) is not None:
            pending = self._journal.job(job.number)
            self._scorer.submit(pending.job)
            bare = pending.job.without_rows()
            self._in_hand[bare.key] = replace(pending, job=bare), job.size
            self._hold(bare.model, job.size)
            begun.append(bare)
        return begun

    def _next(self) -> WaitingScore | None:
        """Take the next job that has room; its model is last in turn."""
        models, room = self._held, IN_HAND - self._held_bytes
        for model, jobs in self._waiting.items():
            size = jobs[0].size
            fits = not models or size <= room
            if fits and (model not in models or models[model] + size <= IN_HAND // _SHARE):
                del self._waiting[model]
                job = jobs.popleft()
                if jobs:
                    self._waiting[model] = jobs
                return job
        return None

    def _hold(self, model: str, size: int) -> None:
        """Count a job in hand, or one less; added up for each job, a thousand would cost most."""
        self._held_bytes += size
        self._held[model] = self._held.get(model, 0) + size
        if not self._held[model]:
            del self._held[model]

    def replies(self) -> list[tuple[PendingScore, ScoreReply]]:
        """Return finished jobs with their replies; each model's are in the order of queueing."""
        scored = []
        for reply in self._scorer.replies():
            pending, size = self._in_hand.pop(reply.key)
            self.size -= size
            self._hold(pending.job.model, -size)
            self._lag.finished(pending.number)
            scored.append((pending, reply))
        return scored
