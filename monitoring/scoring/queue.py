"""Queue of scoring jobs: all jobs are in the database, only the next jobs are in memory."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.lag import ScoringLag
from monitoring.storage.journal import Journal
from monitoring.storage.pending_scores import PendingScore, WaitingScore

IN_HAND = 16 << 20  # maximum bytes of the submitted jobs, as stored in the database
_SHARE = 4  # one model's jobs have at most `IN_HAND` divided by this number


class Scorer(Protocol):
    """Scores windows in the background; a model's replies have the order of its jobs."""

    def submit(self, job: ScoreJob) -> None:
        """Queue a job without blocking."""
        ...

    def replies(self) -> list[ScoreReply]:
        """Return the replies of finished jobs without blocking."""
        ...

    @property
    def waiting(self) -> int:
        """The number of jobs whose reply has not been returned."""
        ...


class ScoringQueue:
    """Submits jobs from the database to the scorer, a bounded number of bytes at a time.

    Its methods must not be called within a transaction.
    """

    def __init__(self, journal: Journal, scorer: Scorer, lag: ScoringLag | None = None) -> None:
        """Load the unfinished jobs from the database."""
        self._journal = journal
        self._lag = lag or ScoringLag()
        self._lag.restart()
        self._scorer = scorer
        self._waiting: dict[str, deque[WaitingScore]] = {}  # model -> its jobs; next model first
        # job's key -> submitted job without its rows, and its bytes
        self._submitted: dict[str, tuple[PendingScore, int]] = {}
        self._bytes_by_model: dict[str, int] = {}  # model -> bytes of its submitted jobs
        self._submitted_bytes = 0  # total bytes of the submitted jobs
        self.size = 0  # bytes of all unfinished jobs
        self.add(journal.queued_jobs())

    def __len__(self) -> int:
        """Return the number of unfinished jobs."""
        return sum(map(len, self._waiting.values())) + len(self._submitted)

    def add(self, decided: Iterable[WaitingScore]) -> None:
        """Queue more jobs."""
        for job in decided:
            self._waiting.setdefault(job.model, deque()).append(job)
            self._lag.queued([job.number])
            self.size += job.size

    def feed(self) -> list[ScoreJob]:
        """Submit the next jobs within the memory limit; return them without their rows.

        Models take turns, and each model has at most its share of the memory. If the jobs of one
        model cannot be scored, the other models' jobs are still submitted.
        """
        submitted: list[ScoreJob] = []
        while (job := self._take_next()) is not None:
            pending = self._journal.job(job.number)
            self._scorer.submit(pending.job)
            bare = pending.job.without_rows()
            self._submitted[bare.key] = replace(pending, job=bare), job.size
            self._count_bytes(bare.model, job.size)
            submitted.append(bare)
        return submitted

    def _take_next(self) -> WaitingScore | None:
        """Remove the next job that fits, and move its model to the end of the order."""
        models, room = self._bytes_by_model, IN_HAND - self._submitted_bytes
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

    def _count_bytes(self, model: str, size: int) -> None:
        """Add a submitted job's bytes to the totals; `size` is negative for a finished job.

        Summing up all submitted jobs each time would be slow with thousands of jobs.
        """
        self._submitted_bytes += size
        self._bytes_by_model[model] = self._bytes_by_model.get(model, 0) + size
        if not self._bytes_by_model[model]:
            del self._bytes_by_model[model]

    def replies(self) -> list[tuple[PendingScore, ScoreReply]]:
        """Return finished jobs with their replies; a model's jobs are in the order of queueing."""
        scored = []
        for reply in self._scorer.replies():
            pending, size = self._submitted.pop(reply.key)
            self.size -= size
            self._count_bytes(pending.job.model, -size)
            self._lag.finished(pending.number)
            scored.append((pending, reply))
        return scored
