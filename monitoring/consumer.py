"""The monitor's loop: poll, ingest, close windows, commit; evaluate scored windows, commit.

Ingestion in a step is one transaction. It commits the records' effects together with the log's
positions, so a crash repeats a whole step. Windows are scored by other processes in parallel.
"""

import gc
import time
from collections.abc import Callable, Collection, Sequence

from eventlog.answer_counts import MINUTE
from eventlog.log import Positions, Reader, Record
from monitoring.baselines.files import BaselineFiles
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.ingest.expiry import Expiry
from monitoring.ingest.ingestion import Ingestion
from monitoring.ingest.loss_detection import LossDetection
from monitoring.ingest.review_queue import ReviewQueue
from monitoring.ingest.traffic_watch import TrafficWatch
from monitoring.ingest.version_state import VersionState
from monitoring.ingest.window_lifecycle import WindowLifecycle
from monitoring.scoring.lag import ScoringLag
from monitoring.scoring.poison import is_poison, requeue
from monitoring.scoring.queue import Scorer, ScoringQueue
from monitoring.storage.journal import Journal
from monitoring.storage.pending_scores import WaitingScore
from monitoring.storage.predictions import Key
from monitoring.tracing import WindowTraces
from registry.baselines import BaselineRecord
from registry.manifest import Version

MOST_WAITING = 4 << 30  # bytes of queued scoring jobs
LONGEST_STEP_S = 2.0  # records polled but not ingested by then wait for the next step
_PREFETCHED = 500  # records whose stored rows are read with one query
RETRY_STEPS = 10  # steps between checks for dead letters to retry


def tune_garbage_collection() -> None:
    """Run the garbage collector less often, because the many rows of a step form no cycles."""
    gc.set_threshold(100_000, 50, 100)


class Consumer:
    """Reads the event log and updates the monitor's database."""

    def __init__(  # noqa: PLR0913  # the ports of the loop
        self,
        journal: Journal,
        state: ConsumerState,
        reader: Reader,
        scorer: Scorer,
        evaluation: Evaluation,
        *,
        traces: WindowTraces | None = None,
        changed_policies: Callable[[], Collection[str]] = tuple,
        most_waiting: int = MOST_WAITING,
        scoring_lag: ScoringLag | None = None,
        baselines: BaselineFiles | None = None,
        announce: Callable[[Version, BaselineRecord], None] = lambda *_: None,
        close_at_end: bool = False,
        clock: Callable[[], float] = time.monotonic,
        scheduled: Callable[[], None] = lambda: None,
    ) -> None:
        """Read with `reader`, which starts at the positions of `state`.

        - `changed_policies` returns the models whose policies have changed since its last call.
        - `most_waiting`: while more bytes of scoring jobs are queued, a step ingests one record.
        - `baselines`: the files of learned baselines; `announce` is called after their commit.
        - `close_at_end`: no window closes before the end of the log, so no row is late.
        - `clock` limits the time of a step. It decides how many records a step ingests, but not
          how a record is ingested.
        - `scheduled` adds the due retraining requests of schedules, in a separate transaction.
        """
        self._clock = clock
        self._scheduled = scheduled
        self._polled: Sequence[Record] = ()  # records polled but not ingested
        self._close_at_end = close_at_end
        self._minute = state.latest // MINUTE  # newest minute of reception
        self._most_waiting = most_waiting
        self._changed_policies = changed_policies
        self._traces = traces or WindowTraces(None)
        self._journal = journal
        self._state = state
        self._reader = reader
        self._queue = ScoringQueue(journal, scorer, scoring_lag)
        self._evaluation = evaluation
        self._expiry = Expiry(journal, state)
        self._traffic = TrafficWatch(state, evaluation.judge_traffic)
        self._reviews = ReviewQueue(journal)
        self._ingestion = Ingestion(journal, state, self._expiry, self._reviews)
        self._lifecycle = WindowLifecycle(journal, state, self._expiry, self._reviews, baselines)
        self._announce = announce
        self._loss_detection = LossDetection(state)
        # Versions saved since learned baselines were last announced:
        self._unannounced: dict[Key, VersionState] = {}
        self._drained = False  # whether the last step ingested the log to its end

    def step(self, limit: int) -> bool:
        """Ingest at most `limit` records, and evaluate scored windows.

        Return False if there was nothing to do, or if too many scoring jobs are queued.
        """
        is_overloaded = self._queue.size > self._most_waiting
        if not self._polled:
            self._polled = self._reader.poll(1 if is_overloaded else limit)
        records = self._polled
        gaps = self._reader.gaps()
        # Must follow the poll: then every policy older than these records is known.
        if models := self._changed_policies():
            self._state.update_policies(models)
        drained = self._reader.drained
        overdue = drained and self._loss_detection.is_due(self._reader.patience)
        backlog = self._expiry.has_backlog
        if records or gaps or overdue or backlog or drained != self._drained:
            with self._journal.database.transaction(serialized=False):
                for gap in gaps:
                    self._ingestion.skip(gap)
                jobs = self._ingest(records, drained=drained)
                self._expiry.delete_some(records[: len(records) - len(self._polled)])
                self._save()
            self._drained = drained and not self._polled
            self._announce_baselines()
            self._submit(jobs)
        evaluated = self._evaluate()
        self._scheduled()
        return (bool(records) and not is_overloaded) or evaluated or backlog

    def close_all(self) -> None:
        """Close every open window now, because no further event is expected."""
        with self._journal.database.transaction(serialized=False):
            jobs = self._lifecycle.close_all()
            self._save()
        self._submit(jobs)

    def positions(self) -> Positions:
        """Return each stream's position, as the last step committed it."""
        return self._state.positions

    @property
    def drained(self) -> bool:
        """Whether the log is ingested to its end."""
        return self._drained

    @property
    def scoring(self) -> bool:
        """Whether a window is still being scored."""
        return bool(self._queue)

    @property
    def has_work(self) -> bool:
        """Whether there are unread records, windows to score or rows to delete."""
        return self.scoring or not self._drained or self._expiry.has_backlog

    def run(self, wait: Callable[[float], bool], limit: int, idle_pause: float) -> None:
        """Step until `wait(seconds)` returns True.

        Pause at the end of the log, so that the next transaction has more records.
        """
        steps = 0
        while not wait(0 if self.step(limit) and self.has_work else idle_pause):
            steps += 1
            # Not after every step, so that a step without records runs no query.
            if steps % RETRY_STEPS == 0:
                self.retry_dead_letters()

    def retry_dead_letters(self) -> bool:
        """Ingest the dead letters marked for a retry; return whether there were any."""
        if not self._journal.has_retries():
            return False
        jobs: list[WaitingScore] = []
        with self._journal.database.transaction():
            for letter in self._journal.pop_retries():
                if is_poison(letter):
                    jobs.append(requeue(self._journal, letter))
                    continue
                version = self._ingestion.retry(letter)
                if version is not None:
                    jobs += self._lifecycle.update(version, drained=True)
            self._save()
        self._submit(jobs)
        return True

    def _ingest(self, records: Sequence[Record], *, drained: bool) -> list[WaitingScore]:
        """Ingest records and update windows; return the scheduled scoring jobs.

        Records that exceed the time limit of a step stay in `_polled`.
        """
        jobs: list[WaitingScore] = []
        until = self._clock() + LONGEST_STEP_S
        for number, record in enumerate(records):
            if number % _PREFETCHED == 0:
                ahead = records[number : number + _PREFETCHED]
                self._journal.predictions.prefetch(record.event for record in ahead)
            if number and self._clock() > until:
                self._polled = records[number:]
                return jobs
            version = self._ingestion.ingest(record)
            self._traces.ingested(record)
            if self._close_at_end:
                continue
            if version is not None:
                # After every record, so that results do not depend on which records share a step.
                jobs += self._lifecycle.update(version, drained=False)
            if self._state.latest // MINUTE != self._minute:
                jobs += self._end_minute()
        self._polled = ()
        if drained:
            self._loss_detection.detect(self._reader.patience)
            for version in self._state.pop_undrained():
                jobs += self._lifecycle.update(version, drained=True)
        return jobs

    def _end_minute(self) -> list[WaitingScore]:
        """Update idle versions and traffic alarms, once a minute of the log's reception time."""
        self._minute = self._state.latest // MINUTE
        jobs = self._lifecycle.update_idle()
        self._traffic.update()
        return jobs

    def _save(self) -> None:
        self._reviews.save()
        self._unannounced.update((version.key, version) for version in self._state.touched())
        self._state.save()

    def _announce_baselines(self) -> None:
        unannounced, self._unannounced = list(self._unannounced.values()), {}
        for version in unannounced:
            if (baseline := version.pop_learned()) is not None:
                self._announce(version.version, baseline)

    def _submit(self, jobs: Sequence[WaitingScore]) -> None:
        self._queue.add(jobs)
        self._feed()

    def _feed(self) -> None:
        for job in self._queue.feed():
            self._traces.scheduled(job.key, job.model, job.version, job.window)

    def _evaluate(self) -> bool:
        """Evaluate the windows scored so far, in one transaction; return whether there were any."""
        self._feed()
        scored = self._queue.replies()
        if not scored:
            return False
        with self._journal.database.transaction():
            for pending, reply in scored:
                self._evaluation.evaluate(pending, reply)
        for pending, reply in scored:
            self._traces.evaluated(reply.key, pending.result)
        return True
