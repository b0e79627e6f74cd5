"""Watching the recorded past again: into a database of its own, perhaps by another policy.

What the monitor finds is a function of the log, so the same policy finds the same again, and
another one finds what it would have found.
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

_AT_ONCE = 2_000  # records
_PAUSE = 0.05  # seconds, while only scoring is in progress


class TimeRangeReader:
    """A reader that passes on predictions whose event time lies in [begin, end), and all labels."""

    def __init__(self, reader: Reader, begin: int, end: int) -> None:
        """Times in microseconds since the epoch."""
        self._reader = reader
        self._begin = begin
        self._end = end

    @property
    def drained(self) -> bool:
        """Whether the last poll found the end of every stream."""
        return self._reader.drained

    @property
    def patience(self) -> float:
        """Return the gaps of the reader behind."""
        return self._reader.patience

    def poll(self, limit: int) -> Sequence[Record]:
        """Return the next records that lie between; empty only where the log has no more."""
        while records := self._reader.poll(limit):
            if batch := [record for record in records if self._is_between(record)]:
                return batch
        return []

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps of the reader behind."""
        return self._reader.gaps()

    def close(self) -> None:
        """Release files and connections."""
        self._reader.close()

    def _is_between(self, record: Record) -> bool:
        event = record.event
        return not isinstance(event, PredictionEvent) or self._begin <= event.time < self._end


def watch_again(  # noqa: PLR0913, PLR0917 - the ports of the loop
    reader: Reader,
    journal: Journal,
    state: ConsumerState,
    scorer: Scorer,
    stop: threading.Event,
    baselines: BaselineFiles | None = None,
    *,
    repair: bool = False,
) -> None:
    """Take in what the reader has, to its end; every window is closed and scored afterwards.

    `journal` and `state` are of a new database. No webhook is sent: retraining requests stay in
    its outbox. `baselines`: where those of versions without a reference are written. `repair`: no
    row is late, and the database is one that a monitor can continue: windows that await events
    stay open, and no retraining request is pending.
    """
    evaluation = Evaluation(journal, state, page="", clock=now_us)
    consumer = Consumer(
        journal, state, reader, scorer, evaluation, baselines=baselines, hold=repair
    )
    closed = repair
    while not stop.is_set():
        if consumer.step(_AT_ONCE):
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
