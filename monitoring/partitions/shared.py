"""Resources that a monitor's partitions share: scoring processes, policy changes, scoring lag."""

from collections.abc import Callable, Collection

from msgspec.structs import replace

from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.lag import ScoringLag
from monitoring.scoring.queue import Scorer


class SharedScorer:
    """Scoring processes for every partition; each gets the replies to its own jobs."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._parts: dict[str, PartScorer] = {}  # name: scorer of an open partition
        self._opened = 0  # number of scorers opened so far

    def open(self) -> "PartScorer":
        """Return a new scorer; a partition that is held again needs a new scorer, too."""
        self._opened += 1
        name = str(self._opened)
        self._parts[name] = PartScorer(name, self._scorer, self._distribute)
        return self._parts[name]

    def close(self, part: "PartScorer") -> None:
        """Drop later replies to a partition's jobs; its next holder submits the jobs again."""
        self._parts.pop(part.name, None)

    def _distribute(self) -> None:
        for reply in self._scorer.replies():
            name, _, key = reply.key.partition("|")
            if name in self._parts:
                self._parts[name].finished.append(replace(reply, key=key))


class PartScorer:
    """The jobs of one partition; implements `monitoring.scoring.queue.Scorer`."""

    def __init__(self, name: str, scorer: Scorer, distribute: Callable[[], None]) -> None:
        self.name = name
        self.finished: list[ScoreReply] = []  # replies not returned so far
        self._scorer = scorer
        self._distribute = distribute
        self._waiting = 0

    def submit(self, job: ScoreJob) -> None:
        """Queue a job; never blocks."""
        self._waiting += 1
        self._scorer.submit(replace(job, key=f"{self.name}|{job.key}"))

    def replies(self) -> list[ScoreReply]:
        """Return the replies to finished jobs; never blocks."""
        self._distribute()
        finished, self.finished = self.finished, []
        self._waiting -= len(finished)
        return finished

    @property
    def waiting(self) -> int:
        """The number of jobs whose reply was not returned yet."""
        return self._waiting


class SharedChanges:
    """Reports changed models to every partition, with one query for all partitions."""

    def __init__(self, changed: Callable[[], Collection[str]]) -> None:
        """`changed` returns the models that have changed since its last call."""
        self._changed = changed
        self._pending: dict[int, set[str]] = {}  # partition: changed models not reported so far

    def open(self, number: int) -> Callable[[], Collection[str]]:
        """Return a partition's function, which returns the models changed since its last call."""
        self._pending[number] = set()

        def changed() -> Collection[str]:
            models = self._changed()
            for pending in self._pending.values():
                pending.update(models)
            own, self._pending[number] = self._pending[number], set()
            return own

        return changed

    def close(self, number: int) -> None:
        """Stop reporting to a partition."""
        self._pending.pop(number, None)


class ScoringLags(ScoringLag):
    """The scoring lag of all partitions together."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[int, ScoringLag] = {}  # keyed by partition

    def open(self, number: int) -> ScoringLag:
        """Add a partition; return its lag."""
        part = ScoringLag()
        self._parts = {**self._parts, number: part}
        return part

    def close(self, number: int) -> None:
        """Remove a partition."""
        self._parts = {other: part for other, part in self._parts.items() if other != number}

    @property
    def waiting(self) -> int:
        """The number of windows that wait for their scores."""
        return super().waiting + sum(part.waiting for part in self._parts.values())

    @property
    def age(self) -> float:
        """Seconds since the oldest waiting window was queued; 0 without waiting windows."""
        return max([super().age, *(part.age for part in self._parts.values())])
