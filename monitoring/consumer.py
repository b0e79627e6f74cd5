"""The monitor's loop: poll, ingest, close windows, commit; evaluate what is scored, commit.

A step is one transaction: what was read, what follows from it and the positions of the log are
committed together, so a crash repeats a whole step. Scoring runs in parallel to the loop.
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

MOST_WAITING = 4 << 30  # bytes
LONGEST_STEP_S = 2.0  # then the rest of what was polled waits for the next step
_PREFETCHED = 500  # records whose stored rows are read at once
RETRY_STEPS = 10  # steps between checks for dead letters to retry


def tune_garbage_collection() -> None:
    """Look less often for cycles among rows by the ten thousand, which never form any."""
    gc.set_threshold(100_000, 50, 100)


class Consumer:
    """Follows a log and keeps the monitor's database up to date."""

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
        hold: bool = False,
        clock: Callable[[], float] = time.monotonic,
        scheduled: Callable[[], None] = lambda: None,
    ) -> None:
        """Read with `reader`, which begins at the positions of `state`.

        `changed_policies` names the models
        whose policies changed since its last call. While more than `most_waiting` bytes of scoring
        jobs are queued, a step ingests a single record. Versions without a reference learn a
        baseline, which is written to `baselines` and announced once it is committed. `hold`: no
        window closes before the log is read to its end, so no row in it is late. `clock` bounds the
        time of a step: it decides where a step ends, and never what follows from a record.
        `scheduled` requests what schedules of the models ask for, in a transaction of its own.
        """
        self._clock = clock
        self._scheduled = scheduled
        self._polled: Sequence[Record] = ()  # and not yet ingested
        self._hold = hold
        self._minute = state.latest // MINUTE  # of reception, that was reached last
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
        self._unannounced: dict[Key, VersionState] = {}  # saved since baselines were announced
        self._drained = False  # whether windows were updated since the log was read to its end

    def step(self, limit: int) -> bool:
        """Ingest at most `limit` records, evaluate what is scored; returns whether anything was."""
        crowded = self._queue.size > self._most_waiting
        if not self._polled:
            self._polled = self._reader.poll(1 if crowded else limit)
        records = self._polled
        gaps = self._reader.gaps()
        # After the poll, so that every policy older than these records is known.
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
        return (bool(records) and not crowded) or evaluated or backlog

    def close_all(self) -> None:
        """Close every open window now: no event is expected any more."""
        with self._journal.database.transaction(serialized=False):
            jobs = self._lifecycle.close_all()
            self._save()
        self._submit(jobs)

    def positions(self) -> Positions:
        """Return the position of each stream, as committed with the last step."""
        return self._state.positions

    @property
    def drained(self) -> bool:
        """Whether the log was read to its end."""
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

        Pause where the log is read to its end: the next transaction then holds more records.
        """
        steps = 0
        while not wait(0 if self.step(limit) and self.has_work else idle_pause):
            steps += 1
            if steps % RETRY_STEPS == 0:  # not every step: a quiet one queries nothing
                self.retry_dead_letters()

    def retry_dead_letters(self) -> bool:
        """Ingest the dead letters marked for a retry; returns whether there were any."""
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
        """Ingest records and update windows; returns the scoring jobs that were decided on.

        Those that the time of a step does not suffice for stay in `_polled`.
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
            if self._hold:
                continue
            if version is not None:
                # After every record, so that results do not depend on where a step ends.
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
        """Update what needs no event of its own, once a minute of the log's reception time."""
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
            if (learned := version.pop_learned()) is not None:
                self._announce(version.version, learned)

    def _submit(self, jobs: Sequence[WaitingScore]) -> None:
        self._queue.add(jobs)
        self._feed()

    def _feed(self) -> None:
        for job in self._queue.feed():
            self._traces.scheduled(job.key, job.model, job.version, job.window)

    def _evaluate(self) -> bool:
        """Evaluate all that is scored by now, in one transaction."""
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
