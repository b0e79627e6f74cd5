"""Queue scoring jobs: all of them in the database, the next few in memory."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.lag import ScoringLag
from monitoring.storage.journal import Journal
from monitoring.storage.pending_scores import PendingScore, WaitingScore

IN_HAND = 16 << 20  # bytes of jobs, as stored in the database, that the scorer holds at once


class Scorer(Protocol):
    """Score windows in the background; replies come in the order of the jobs."""

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
        self._waiting = deque(journal.queued_jobs())
        self._in_hand: dict[str, tuple[PendingScore, int]] = {}  # by key; without their rows
        self._lag.queued(one.number for one in self._waiting)
        self.size = sum(one.size for one in self._waiting)  # bytes of all unfinished jobs

    def __len__(self) -> int:
        """Jobs that are not finished."""
        return len(self._waiting) + len(self._in_hand)

    def add(self, decided: Iterable[WaitingScore]) -> None:
        """Queue more jobs."""
        for one in decided:
            self._waiting.append(one)
            self._lag.queued([one.number])
            self.size += one.size

    def feed(self) -> list[ScoreJob]:
        """Submit the next jobs within the memory limit; return them without their rows."""
        begun: list[ScoreJob] = []
        in_hand = sum(size for _, size in self._in_hand.values())
        while self._waiting and (not in_hand or in_hand + self._waiting[0].size <= IN_HAND):
            one = self._waiting.popleft()
            pending = self._journal.job(one.number)
            self._scorer.submit(pending.job)
            bare = replace(pending.job, columns={}, reference={}, order=[], inputs=None)
            self._in_hand[bare.key] = replace(pending, job=bare), one.size
            in_hand += one.size
            begun.append(bare)
        return begun

    def replies(self) -> list[tuple[PendingScore, ScoreReply]]:
        """Return finished jobs with their replies, in the order in which they were queued."""
        scored = []
        for reply in self._scorer.replies():
            pending, size = self._in_hand.pop(reply.key)
            self.size -= size
            self._lag.finished(pending.number)
            scored.append((pending, reply))
        return scored
