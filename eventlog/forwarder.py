"""Forward the local log to Kafka: every event at least once, each source in order.

A source's cursor moves only after Kafka has acknowledged all records before it. After an error, the
forwarder resends all records after the cursor. If a topic was re-created, the forwarder resends all
records that the segments still contain. A broker outage therefore causes delay, but no loss.

A record that Kafka refuses must not block later records. It is stored as a dead letter before the
cursor passes it. Kafka gets a letter without the record's content, so that sequence numbers stay
gap-free.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from eventlog.dead_letters import DeadLetters, dead_letter
from eventlog.errors import (
    EventLogError,
    NotAcknowledged,
    NotForwardable,
    Refusal,
    Refused,
    UnreadableEvent,
)
from eventlog.kafka import KafkaMessage, letter, message
from eventlog.kafka_settings import KafkaSettings
from eventlog.log import Gap, Position, Positions, Reader, Record
from eventlog.process_lock import ProcessLock
from eventlog.retention import read_positions, write_positions
from eventlog.topic_epochs import TopicEpochs
from eventlog.tracing import ForwardTraces
from telemetry.backoff import Backoff

_logger = logging.getLogger(__name__)

BATCH = 2000  # records sent and acknowledged together
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds between attempts


class Sink(Protocol):
    """A destination that accepts messages and reports which of them it has stored."""

    def send(self, batch: Sequence[KafkaMessage]) -> None:
        """Send messages; return once all are acknowledged.

        Raises NotAcknowledged if a message is not acknowledged; any message may still have arrived.
        Raises Refused if a message can never be accepted; the error lists messages to resend.
        """
        ...

    def topics(self) -> Mapping[str, str]:
        """Return the id of every topic that is known to exist; never blocks."""
        ...


class Cursors:
    """Store the acknowledged position of each source in one file, replaced atomically.

    An instance locks the file, because a second forwarder would send every event twice.
    """

    def __init__(self, path: Path) -> None:
        """Lock and read the file; if it is missing, start at the oldest records.

        Raises AlreadyRunning if another forwarder has the lock.
        """
        self._lock = ProcessLock(path.with_suffix(".lock"), "forwarder")
        self._path = path
        self.topics = TopicEpochs(path.with_suffix(".topics"))
        self.dead_letters = DeadLetters(path.with_suffix(".deadletters.db"))
        self.positions: dict[str, Position] = read_positions(path) if path.exists() else {}
        self._saved = True

    def advance(self, positions: Positions) -> None:
        """Store the new positions durably; raises OSError."""
        self.positions.update(positions)
        self._saved = False
        self.save()

    def skip(self, gap: Gap) -> None:
        """Move a source's position after a gap, durably; raises OSError."""
        if gap.reason == "removed":
            self.positions.pop(gap.stream, None)
        else:
            self.positions[gap.stream] = gap.after
        self._saved = False
        self.save()

    def rewind(self) -> None:
        """Reset all positions to the oldest records; raises OSError."""
        self.positions.clear()
        self._saved = False
        self.save()

    def save(self) -> None:
        """Store the positions, unless they are already stored; raises OSError."""
        if not self._saved:
            write_positions(self._path, self.positions)
            self._saved = True

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()


class _Outgoing(msgspec.Struct, frozen=True):
    """A record with the message that is sent for it."""

    record: Record
    message: KafkaMessage
    form: Literal["event", "digest", "letter"] = "event"  # "digest" is an event without payload


class Forwarder:
    """Send records from the log to a sink in acknowledged batches. Runs in one thread."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        follow: Callable[[Positions], Reader],
        sink: Sink,
        cursors: Cursors,
        settings: KafkaSettings,
        traces: ForwardTraces | None = None,
        *,
        dead_lettered: Callable[[int], None] = lambda _number: None,
    ) -> None:
        """`follow` opens the log at positions; `dead_lettered` gets the number of new letters."""
        self._dead_lettered = dead_lettered
        self._traces = traces
        self._follow = follow
        self._sink = sink
        self._cursors = cursors
        self._settings = settings
        self._reader = follow(cursors.positions)

    def step(self) -> int:
        """Forward at most one batch; return the number of acknowledged records.

        Raises NotAcknowledged if Kafka or the disk fails; the next call retries.
        """
        try:
            return self._step()
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise NotAcknowledged(f"{place}{error.strerror or error}") from error

    def _step(self) -> int:
        self._cursors.save()
        self._check_topics()
        began = time.time_ns()
        records = self._reader.poll(BATCH)
        for gap in self._reader.gaps():
            _logger.error("%s", gap)
            self._cursors.skip(gap)
        if not records:
            return 0
        try:
            forwarded = self._send(self._outgoing(records))
        except NotAcknowledged:
            self._reopen_reader()
            raise
        self._cursors.advance({record.stream: record.after for record in records})
        if self._traces is not None:
            self._traces.sent(forwarded, began)
        return len(records)

    def run(
        self,
        wait: Callable[[float], bool],
        failed: Callable[[NotAcknowledged, float], None],
        idle_pause: float = 0.1,
    ) -> None:
        """Forward until `wait(seconds)` returns True.

        After each error, `failed` is called with the error and the seconds until the next attempt.
        """
        pauses = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        stop = False
        while not stop:
            try:
                moved = self.step()
            except NotAcknowledged as error:
                pause = pauses.next()
                failed(error, pause)
                stop = wait(pause)
            else:
                pauses.reset()
                stop = wait(0 if moved else idle_pause)
        self._reader.close()

    def _outgoing(self, records: Sequence[Record]) -> list[_Outgoing]:
        """Convert records to messages; dead-letter records that do not fit into a message."""
        outgoing: list[_Outgoing] = []
        unsent: list[tuple[Record, str]] = []
        for record in records:
            try:
                kafka_message = message(record, self._settings)
            except NotForwardable as error:
                unsent.append((record, str(error)))
                kafka_message = letter(record, f"not forwarded: {error}", self._settings)
                outgoing.append(_Outgoing(record, kafka_message, "letter"))
            else:
                if isinstance(record.event, UnreadableEvent):
                    unsent.append((record, str(record.event)))
                    outgoing.append(_Outgoing(record, kafka_message, "letter"))
                else:
                    outgoing.append(_Outgoing(record, kafka_message))
        self._store(unsent)
        return outgoing

    def _send(self, outgoing: Sequence[_Outgoing]) -> list[Record]:
        """Send all messages, dead-letter refused records, and return the forwarded records."""
        if not outgoing:
            return []
        try:
            self._sink.send([item.message for item in outgoing])
        except Refused as error:
            replaced = [
                self._replacement(outgoing[index], refusal)
                for index, refusal in sorted(error.refusals.items())
            ]
            sent = self._send([item for item in replaced if item is not None])
            sent += self._send([outgoing[index] for index in error.unacknowledged])
            failed = {*error.refusals, *error.unacknowledged}
            outgoing = [item for index, item in enumerate(outgoing) if index not in failed]
        else:
            sent = []
        return sent + [item.record for item in outgoing if item.form != "letter"]

    def _replacement(self, refused: _Outgoing, refusal: Refusal) -> _Outgoing | None:
        """Return the replacement of a refused message: a digest, a letter, or None."""
        record = refused.record
        if refused.form == "letter":
            origin = dead_letter(record, "").origin
            _logger.error("%s has no letter in Kafka: %s", origin, refusal.reason)
            return None
        if refusal.too_large and refused.form == "event":
            with contextlib.suppress(NotForwardable):
                smaller = message(record, self._settings, digest=True)
                if smaller.size < refused.message.size:
                    return _Outgoing(record, smaller, "digest")
        self._store([(record, refusal.reason)])
        instead = letter(record, f"not forwarded: {refusal.reason}", self._settings)
        return _Outgoing(record, instead, "letter")

    def _store(self, unsent: Sequence[tuple[Record, str]]) -> None:
        """Store dead letters; raises NotAcknowledged on failure, so that the batch is retried."""
        if not unsent:
            return
        try:
            added = self._cursors.dead_letters.add([dead_letter(*failure) for failure in unsent])
        except EventLogError as error:
            raise NotAcknowledged(str(error)) from error
        if added:
            record, reason = unsent[-1]
            origin = dead_letter(record, reason).origin
            _logger.warning("%d records dead-lettered, the last %s: %s", added, origin, reason)
            self._dead_lettered(added)

    def _check_topics(self) -> None:
        """Rewind the cursors if a topic was re-created."""
        topics = self._sink.topics()
        recreated = self._cursors.topics.recreated(topics)
        if recreated:
            names = ", ".join(recreated)
            _logger.warning("re-created topics: %s; all records in the segments are resent", names)
            self._cursors.rewind()
            self._reopen_reader()
        self._cursors.topics.keep(topics)

    def _reopen_reader(self) -> None:
        self._reader.close()
        self._reader = self._follow(self._cursors.positions)
