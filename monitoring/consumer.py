"""The loop: poll, take in, close, commit; score beside it; conclude, commit.

A step is one transaction: what was read, what follows from it and how far the log has been read
stand and fall together, so a crash repeats a step and never half of one.
"""

from collections.abc import Callable, Collection, Sequence

from eventlog.log import Positions, Reader, Record
from monitoring.evaluation import Evaluation
from monitoring.ingest.ingestion import Ingestion
from monitoring.ingest.loss_detection import LossDetection
from monitoring.scoring.queue import Scorer, ScoringQueue
from monitoring.storage.journal import Journal
from monitoring.tracing import WindowTraces
from monitoring.windows.expiry import Expiry
from monitoring.windows.lifecycle import WindowLifecycle
from monitoring.windows.version_state import ConsumerState

MOST_WAITING = 4 << 30  # bytes
STEPS = 10  # between two looks for dead letters that are to be tried again


class Consumer:
    """Follows a log until told to stop."""

    def __init__(  # noqa: PLR0913  # the ports of the loop
        self,
        journal: Journal,
        memory: ConsumerState,
        reader: Reader,
        scorer: Scorer,
        conclusion: Evaluation,
        *,
        traces: WindowTraces | None = None,
        taken: Callable[[], None] = lambda: None,
        changed: Callable[[], Collection[str]] = tuple,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """`reader` begins at the memory's positions; each step calls `taken` before it commits.

        `changed` names the models that are watched otherwise than when it was called last. While
        scorings of more than `most_waiting` bytes wait, hardly anything is taken in.
        """
        self._most_waiting = most_waiting
        self._taken = taken
        self._changed = changed
        self._traces = traces or WindowTraces(None)
        self._journal = journal
        self._memory = memory
        self._reader = reader
        self._queue = ScoringQueue(journal, scorer)
        self._conclusion = conclusion
        self._keeping = Expiry(journal, memory)
        self._intake = Ingestion(journal, memory, self._keeping)
        self._closing = WindowLifecycle(journal, memory, self._keeping)
        self._settling = LossDetection(memory)
        self._drained = False  # whether the windows have been looked at since the log was drained

    def step(self, limit: int) -> bool:
        """Take in at most `limit` records and conclude what is scored; whether anything moved."""
        crowded = self._queue.size > self._most_waiting
        records = self._reader.poll(1 if crowded else limit)
        gaps = self._reader.gaps()
        # After the look at the log: of whatever stands there, no later policy is known of than now.
        if models := self._changed():
            self._memory.follow(models)
        drained = self._reader.drained
        overdue = drained and self._settling.due(self._reader.patience)
        behind = self._keeping.behind
        if records or gaps or overdue or behind or drained != self._drained:
            with self._journal.database.transaction():
                for gap in gaps:
                    self._intake.pass_over(gap)
                self._take(records, drained=drained)
                self._keeping.tidy(records)
                self._memory.save()
                self._taken()
            self._drained = drained
            self._submit()
        concluded = self._conclude()
        return (bool(records) and not crowded) or concluded or behind

    def close_all(self) -> None:
        """Close every open window now: no event is expected any more."""
        with self._journal.database.transaction():
            self._closing.close_all()
            self._memory.save()
        self._submit()

    def positions(self) -> Positions:
        """How far the log is taken in, as committed with the last step."""
        return self._memory.positions

    @property
    def drained(self) -> bool:
        """Whether the log was read to its end."""
        return self._drained

    @property
    def scoring(self) -> bool:
        """Whether a window is still being scored."""
        return bool(self._queue)

    def run(self, wait: Callable[[float], bool], limit: int, idle_pause: float) -> None:
        """Step until `wait(seconds)` says that it is time to stop."""
        steps = 0
        while not wait(0 if self.step(limit) else idle_pause):
            steps += 1
            if steps % STEPS == 0:  # people can wait; a quiet step asks the database for nothing
                self.take_again()

    def take_again(self) -> bool:
        """Take in the dead letters that a person wants tried again; whether there were any."""
        if not self._journal.has_retries():
            return False
        with self._journal.database.transaction():
            for letter in self._journal.pop_retries():
                watching = self._intake.again(letter)
                if watching is not None:
                    self._closing.look(watching, drained=True)
            self._memory.save()
            self._taken()
        self._submit()
        return True

    def _take(self, records: Sequence[Record], *, drained: bool) -> None:
        self._journal.predictions.prefetch(record.event for record in records)
        for record in records:
            watching = self._intake.take(record)
            self._traces.taken(record)
            if watching is not None:
                # After every record, so that results do not depend on where a step ends.
                self._closing.look(watching, drained=False)
            self._closing.look_around()
        if drained:
            self._settling.settle(self._reader.patience)
            for watching in self._memory.everything():
                self._closing.look(watching, drained=True)

    def _submit(self) -> None:
        decided, self._closing.scheduled = self._closing.scheduled, []
        self._queue.add(decided)
        self._feed()

    def _feed(self) -> None:
        for job in self._queue.feed():
            self._traces.scheduled(job.key, job.model, job.version, job.window)

    def _conclude(self) -> bool:
        """All that is scored by now, in one transaction: of a thousand models much is at once."""
        self._feed()
        concluded = self._queue.replies()
        if not concluded:
            return False
        with self._journal.database.transaction():
            for pending, reply in concluded:
                self._conclusion.conclude(pending, reply)
        for pending, reply in concluded:
            self._traces.concluded(reply.key, pending.result)
        return True
