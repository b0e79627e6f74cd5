"""Replay the recorded log into a separate database, with the same or another monitoring policy.

Results depend only on the log and the policies. A replay with the same policies therefore
reproduces the recorded results, and another policy shows the results that it would have had.
"""

import threading
from collections.abc import Sequence

from eventlog.events import PredictionEvent
from eventlog.log import Gap, Reader, Record
from monitoring.baselines.files import BaselineFiles
from monitoring.consumer import Consumer
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.scoring.queue import Scorer
from monitoring.storage.journal import Journal
from telemetry.clock import now_us

_POLL = 2_000  # records in one step
_PAUSE = 0.05  # seconds between checks of running scoring jobs


class TimeRangeReader:
    """A reader of all records except predictions whose event time is outside [begin, end)."""

    def __init__(self, reader: Reader, begin: int, end: int) -> None:
        """Filter `reader`; `begin` and `end` are in microseconds since the epoch."""
        self._reader = reader
        self._begin = begin
        self._end = end

    @property
    def drained(self) -> bool:
        """Whether the last poll found the end of every stream."""
        return self._reader.drained

    @property
    def patience(self) -> float:
        """Return the patience of the filtered reader, in seconds."""
        return self._reader.patience

    def poll(self, limit: int) -> Sequence[Record]:
        """Return the next records within the time range; empty only at the end of the log."""
        while records := self._reader.poll(limit):
            if batch := [record for record in records if self._is_in_range(record)]:
                return batch
        return []

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps of the filtered reader."""
        return self._reader.gaps()

    def close(self) -> None:
        """Release files and connections."""
        self._reader.close()

    def _is_in_range(self, record: Record) -> bool:
        event = record.event
        return not isinstance(event, PredictionEvent) or self._begin <= event.time < self._end


def replay_log(  # noqa: PLR0913, PLR0917 - the ports of the loop
    reader: Reader,
    journal: Journal,
    state: ConsumerState,
    scorer: Scorer,
    stop: threading.Event,
    baselines: BaselineFiles | None = None,
    *,
    repair: bool = False,
) -> None:
    """Ingest the log to its end, then close and score every window.

    `journal` and `state` belong to a new database. No webhook is sent: retraining requests stay in
    the outbox. Learned baselines are written to `baselines`. With `repair`, the result is a
    database that a monitor can continue: no row is late, windows that await events stay open, and
    no retraining request is pending.
    """
    evaluation = Evaluation(journal, state, page="", clock=now_us)
    consumer = Consumer(
        journal, state, reader, scorer, evaluation, baselines=baselines, close_at_end=repair
    )
    closed = repair
    while not stop.is_set():
        if consumer.step(_POLL):
            continue
        if consumer.scoring or not consumer.drained:
            stop.wait(_PAUSE)
        elif not closed:
            consumer.close_all()
            closed = True
        else:
            break
    if repair:
        with journal.database.transaction():
            for webhook_id in journal.pending_deliveries():
                journal.supersede(webhook_id)
