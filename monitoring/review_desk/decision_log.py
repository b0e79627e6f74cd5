"""Log of reviewers' decisions: label events in a separate source of the event log."""

import socket
import threading
from contextlib import suppress

from eventlog.answer_counts import CountingWriter
from eventlog.errors import LogUnavailable
from eventlog.events import FeedbackEvent, Label, ReviewAction
from eventlog.heartbeats import Heartbeats
from eventlog.identity import writer_name
from eventlog.settings import Home, LogSettings
from eventlog.shards import shard_of
from eventlog.stamps import Stamps
from monitoring.reviews.rows import PickedRow
from telemetry.clock import now_us


class LoggedDecisions:
    """Appends decisions as label events; claims its source of the log at the first decision."""

    def __init__(self, home: Home, settings: LogSettings) -> None:
        self._home = home
        self._settings = settings
        self._writer: CountingWriter | None = None
        self._lock = threading.Lock()

    def append(
        self, picked: PickedRow, action: ReviewAction, label: Label, *, actor: str, why: str
    ) -> None:
        """Append a label event.

        Raises:
            LogUnavailable: the log cannot be written.
        """
        with self._lock:
            if self._writer is None:
                self._writer = self._claim()
            writer, now = self._writer, now_us()
            stamp = Stamps(writer).take(shard_of(picked.model))
            event = FeedbackEvent(
                source=writer.source,
                epoch=writer.epoch,
                sequence=stamp.sequence,
                shard=stamp.shard,
                number=stamp.number,
                time=now,
                received=now,
                prediction_id=picked.stored.prediction_id,
                row=picked.row,
                label=label,
                actor=actor,
                verified=True,
                review=action,
                why=why,
                inclusion=picked.stored.inclusion,
            )
            writer.append([event])

    def close(self) -> None:
        """Log the end of this writer's epoch, and release the source."""
        with self._lock:
            if self._writer is None:
                return
            with suppress(LogUnavailable):
                Heartbeats(self._writer, now_us).end()
            self._writer.close()
            self._writer = None

    def _claim(self) -> CountingWriter:
        name = f"{writer_name(self._home.log, socket.gethostname())}-review"
        return CountingWriter.claim(self._home.log, name, self._settings, lambda _: None)
