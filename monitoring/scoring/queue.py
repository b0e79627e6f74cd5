"""Scorings that wait for their turn: in the database, and only the next few of them in memory."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from monitoring.scoring.jobs import ScoreJob, ScoreReply
from monitoring.storage.journal import Journal
from monitoring.storage.rows import PendingScore, QueuedJob

IN_HAND = 16 << 20  # bytes of scorings, as they lie in the database, that the scorer has at once


class Scorer(Protocol):
    """Scores windows beside the loop; replies come in the order of the jobs."""

    def submit(self, job: ScoreJob) -> None:
        """Queue a job; never blocks."""
        ...

    def replies(self) -> list[ScoreReply]:
        """What is finished; never blocks."""
        ...

    @property
    def waiting(self) -> int:
        """Jobs whose reply was not handed out yet."""
        ...


class ScoringQueue:
    """Hands scorings to the scorer as it gets on; not for use within a transaction."""

    def __init__(self, journal: Journal, scorer: Scorer) -> None:
        """Take up what was decided on and not concluded."""
        self._journal = journal
        self._scorer = scorer
        self._waiting = deque(journal.queued_jobs())
        self._in_hand: dict[str, tuple[PendingScore, int]] = {}  # by key; without their rows
        self.size = sum(one.size for one in self._waiting)  # bytes of all that are not concluded

    def __len__(self) -> int:
        """Scorings that are not concluded."""
        return len(self._waiting) + len(self._in_hand)

    def add(self, decided: Iterable[QueuedJob]) -> None:
        """Have more of them wait."""
        for one in decided:
            self._waiting.append(one)
            self.size += one.size

    def feed(self) -> list[ScoreJob]:
        """Submit the next ones, as many as may be in memory; without their rows."""
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
        """What is scored by now, in the order in which it was decided on."""
        scored = []
        for reply in self._scorer.replies():
            pending, size = self._in_hand.pop(reply.key)
            self.size -= size
            scored.append((pending, reply))
        return scored
