"""Read the Kafka topics as a log; implements `Reader` of eventlog/log.py.

The owner of the reader stores the positions. No offset is committed to Kafka, because the consumer
group only assigns partitions. The client never resets an offset: `_place` chooses the first offset
to read and reports skipped records.
"""

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from eventlog import wire
from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.kafka import PROTOCOL_VERSION, partition_fault
from eventlog.kafka_records import DamagedBatch, FetchedRecord, read_lean
from eventlog.kafka_settings import KafkaSettings
from eventlog.log import Gap, Loss, Position, Positions, Record
from eventlog.merge import Merge

_logger = logging.getLogger(__name__)

_FETCH_WAIT = 50  # longest wait of a poll for the broker, in milliseconds
_ANSWER_WITHIN = 10_000  # timeout of a query of a partition's offsets, in milliseconds
_SESSION = 10_000  # milliseconds after which the group reassigns a silent reader's partitions
MAX_BUFFERED = 8_000  # records per partition; while more are buffered, fetches are discarded


class _Letter(msgspec.Struct):
    """The dead letter that the forwarder sends for a record."""

    source: str
    epoch: int
    sequence: int
    reason: str
    received: int | None = None  # None if the event is unreadable
    shard: str = ""
    number: int = 0


_letters = msgspec.json.Decoder(_Letter)


class KafkaReader:
    """Read the partitions that the consumer group assigns. Use from one thread."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        positions: Positions,
        patience: float,
        *,
        claim: Callable[[int], bool] | None = None,
    ) -> None:
        """Subscribe to the topics; `poll` connects, so a missing broker delays no start.

        `positions` is read when a partition is assigned. `patience` is how many seconds an event
        can arrive after later events of its source. If `claim` is given, each partition number is a
        separate log (see `part`). Each poll calls `claim(number)` until it returns True; only then
        is the partition read.
        """
        self.drained = False
        self._settings = settings
        self._positions = positions
        self._patience = patience
        self._topics = settings.topics
        self._claim = claim
        self._merges: dict[int, Merge] = {}  # by partition number; only number 0 without `claim`
        self._heard = time.monotonic()  # time at which the group's coordinator was last known
        self._topic_epochs: dict[TopicPartition, int] = {}  # of the partitions that are read
        self._next: dict[TopicPartition, int] = {}
        self._first_ends: dict[TopicPartition, int] = {}  # end offset at assignment
        self._gaps: list[Gap] = []
        self._unplaced: set[TopicPartition] = set()  # partitions whose first offset is not chosen
        # Stream -> offset of a batch that cannot be read. Users share this dictionary.
        self.damaged: dict[str, int] = {}
        self._connected = True
        self._fault = ""  # last logged fault of the partition counts
        self._consumer = KafkaConsumer(
            **settings.connection,
            api_version=PROTOCOL_VERSION,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            # The same reader gets the predictions and the labels of a model.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=_SESSION,  # the group notices a killed reader after this time
            metadata_max_age_ms=10_000,
            metrics_enabled=False,
        )
        read_lean(self._consumer)
        self._listener = _Listener()
        self._consumer.subscribe(self._topics, listener=self._listener)

    @property
    def patience(self) -> float:
        """Return the patience in seconds; infinite while another reader has partitions."""
        everything = {place for number in self.numbers for place in self._places(number)}
        return self._patience if self._topic_epochs.keys() == everything else math.inf

    @property
    def numbers(self) -> set[int]:
        """Return the numbers of all partitions, assigned to this reader or not."""
        partitions_of = self._cluster.partitions_for_topic
        return {number for topic in self._topics for number in partitions_of(topic) or ()}

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of partitions of each topic keyed by shard, or 0 while unknown."""
        topics = self._settings.keyed_topics
        return {topic: len(self._cluster.partitions_for_topic(topic) or ()) for topic in topics}

    @property
    def assigned(self) -> set[int] | None:
        """Return the partition numbers assigned to this reader, or None during a rebalance.

        Return an empty set if the group's coordinator was unknown for longer than the session.
        """
        if not self._consumer._coordinator.coordinator_unknown():  # noqa: SLF001 - no public method
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > _SESSION / 1_000:
            return set()
        if self._listener.rebalancing:
            return None
        return {place.partition for place in self._consumer.assignment()}

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` new records; blocks for at most milliseconds."""
        self.fetch(limit)
        records = self._take(0, self._topic_epochs, limit)
        placed = set(self._topic_epochs) == self._consumer.assignment() != set()
        self.drained = placed and not self._unplaced and self._is_drained(0, self._topic_epochs)
        return records

    def fetch(self, limit: int) -> None:
        """Buffer new records and apply the group's assignment; `poll` returns the records."""
        fetched = self._fetch(limit)
        self._follow_assignment()
        self._check_partitions()
        for place, messages in fetched.items():
            if place in self._topic_epochs and place not in self._unplaced:
                self._ingest(place, messages)
        for place in sorted(self._unplaced & self._consumer.assignment()):
            self._try(self._place, place)

    def part(self, number: int) -> "PartitionReader":
        """Return a reader of the claimed partitions with this number."""
        return PartitionReader(self, number)

    def ends(self) -> dict[str, tuple[int, int]]:
        """Query the first offset and the end offset of every partition, by stream.

        Raises LogUnavailable.
        """
        places = [place for number in self.numbers for place in self._places(number)]
        try:
            first = self._consumer.beginning_offsets(places, timeout_ms=_ANSWER_WITHIN)
            end = self._consumer.end_offsets(places, timeout_ms=_ANSWER_WITHIN)
        except KafkaError as error:
            raise LogUnavailable(f"{type(error).__name__}: {error}") from error
        return {_stream(place): (first[place], end[place]) for place in places}

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps found since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def close(self) -> None:
        """Leave the group and close the connections."""
        with contextlib.suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=1000)

    def _places(self, number: int) -> list[TopicPartition]:
        """Return every topic's partition with this number."""
        return [
            TopicPartition(topic, number)
            for topic in self._topics
            if number in (self._cluster.partitions_for_topic(topic) or ())
        ]

    def _merge(self, place: TopicPartition) -> Merge:
        number = 0 if self._claim is None else place.partition
        return self._merges.setdefault(number, Merge())

    def _take(self, number: int, places: Iterable[TopicPartition], limit: int) -> Sequence[Record]:
        ended = {_stream(place) for place in places if self._at_end(place)}
        merge = self._merges.get(number)
        return [] if merge is None else merge.take(limit, ended)

    def _is_drained(self, number: int, places: Iterable[TopicPartition]) -> bool:
        """Return whether all records of these partitions, which share a merge, were returned."""
        merge = self._merges.get(number)
        return (
            self._connected
            and merge is not None
            and all(self._at_end(place) and not merge.buffered(_stream(place)) for place in places)
        )

    @property
    def _cluster(self) -> Any:
        return self._consumer._cluster  # noqa: SLF001 - the public methods query the broker each time

    def _fetch(self, limit: int) -> dict[TopicPartition, list[FetchedRecord]]:
        try:
            fetched: dict[TopicPartition, list[FetchedRecord]] = self._consumer.poll(
                _FETCH_WAIT, limit
            )
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            self._unplaced.update(error.args[0])
            return {}
        except LogTruncationError as error:
            for place, at in error.divergent_offsets.items():
                if place in self._topic_epochs:
                    self._try(self._go_back, place, at.offset if at else None)
            return {}
        except DamagedBatch as error:
            self._note_damaged(error)
            return {}
        except KafkaError as error:
            self._log_once(error)
            return {}
        self._connected = True
        return fetched

    def _note_damaged(self, error: DamagedBatch) -> None:
        """Store the offset of an unreadable batch; it is fetched until an operator repairs it."""
        stream = _stream(error.place)
        if self.damaged.get(stream) != error.offset:
            _logger.error(
                "%s; no later record is read. Repair the topic, or delete the records up to this "
                "batch (runbook DriftlineBatchDamaged)",
                error,
            )
        self.damaged[stream] = error.offset

    def _follow_assignment(self) -> None:
        """Stop reading revoked partitions, and detect new partitions and re-created topics."""
        assigned = self._consumer.assignment()
        self._unplaced.update(self._listener.take())
        for place in self._topic_epochs.keys() - assigned:
            self._merge(place).close(_stream(place))
            self.damaged.pop(_stream(place), None)
            del self._topic_epochs[place], self._next[place], self._first_ends[place]
        self._unplaced.update(assigned - self._topic_epochs.keys())
        for place, topic_epoch in self._topic_epochs.items():
            if self._topic_epoch(place.topic) not in (topic_epoch, None):
                self._unplaced.add(place)

    def _check_partitions(self) -> None:
        """Log an error if partition counts differ, because this stops all forwarders."""
        counts = self.counts
        fault = partition_fault(counts) if all(counts.values()) else ""
        if fault and fault != self._fault:
            _logger.error("%s", fault)
        self._fault = fault

    def _ingest(self, place: TopicPartition, messages: Sequence[FetchedRecord]) -> None:
        stream, topic_epoch = _stream(place), self._topic_epochs[place]
        merge = self._merge(place)
        if merge.buffered(stream) >= MAX_BUFFERED:
            # Discard the records and fetch them again later. A pause would be cheaper, but if a
            # partition is paused during a fetch, kafka-python 3.0.12 sometimes never resumes it.
            self._try(self._consumer.seek, place, self._next[place])
            return
        read = _damaged if place.topic == self._settings.dead_letters else read_message
        merge.add(stream, [read(fetched, stream, topic_epoch) for fetched in messages])
        self._next[place] = messages[-1].offset + 1
        if stream in self.damaged and self._next[place] > self.damaged[stream]:
            del self.damaged[stream]  # the topic was repaired

    def _go_back(self, place: TopicPartition, offset: int | None) -> None:
        """Continue at the offset of the log's divergence; if None, at the oldest record."""
        begin = self._ends(place)[0] if offset is None else offset
        self._begin(place, self._topic_epochs[place], begin, "truncated")

    def _try(self, work: Callable[..., None], *about: Any) -> None:
        """Run a query of the broker; log a failure, after which the next poll retries."""
        try:
            work(*about)
        except KafkaError as error:
            self._log_once(error)

    def _place(self, place: TopicPartition) -> None:
        """Start a partition at its stored position, after a gap, or at the oldest record."""
        topic_epoch = self._topic_epoch(place.topic)
        if topic_epoch is None or not (self._claim is None or self._claim(place.partition)):
            return
        first, end = self._ends(place)
        position = self._positions.get(_stream(place))
        self._first_ends[place] = end
        if position is None:
            self._begin(place, topic_epoch, first, None)
        elif position.epoch != topic_epoch:
            self._begin(place, topic_epoch, first, "recreated")
        elif position.sequence > end:
            self._begin(place, topic_epoch, end, "truncated")
        elif position.sequence < first:
            self._begin(place, topic_epoch, first, "overrun", first - position.sequence)
        else:
            self._begin(place, topic_epoch, position.sequence, None)

    def _begin(
        self,
        place: TopicPartition,
        topic_epoch: int,
        offset: int,
        loss: Loss | None,
        records: int = 0,
    ) -> None:
        """Start to read a partition at this offset; `seek` fails first if it was revoked."""
        stream = _stream(place)
        self._consumer.seek(place, offset)
        self._merge(place).open(stream)
        self.damaged.pop(stream, None)
        self._topic_epochs[place], self._next[place] = topic_epoch, offset
        self._unplaced.discard(place)
        if loss is not None:
            self._gaps.append(Gap(stream, Position(topic_epoch, offset), loss, records))

    def _ends(self, place: TopicPartition) -> tuple[int, int]:
        first = self._consumer.beginning_offsets([place], timeout_ms=_ANSWER_WITHIN)
        end = self._consumer.end_offsets([place], timeout_ms=_ANSWER_WITHIN)
        return first[place], end[place]

    def _at_end(self, place: TopicPartition) -> bool:
        return self._next[place] >= self._end(place)

    def _unreturned(self, place: TopicPartition) -> int:
        waiting = self._merge(place).buffered(_stream(place))
        return waiting + max(0, self._end(place) - self._next[place])

    def _end(self, place: TopicPartition) -> int:
        """Return the end offset of a partition that the broker reported last.

        A fetch session omits partitions without news. After a reassignment, the broker may thus
        report no end until the next record, and dead letters may never get a next record.
        """
        end: int | None = self._consumer.highwater(place)
        return self._first_ends[place] if end is None else end

    def _topic_epoch(self, topic: str) -> int | None:
        """Return the high 52 bits of the topic's id, which JSON numbers represent exactly."""
        topic_id: UUID | None = self._cluster.topic_id(topic)
        return None if topic_id is None else topic_id.int >> 76

    def _log_once(self, error: KafkaError) -> None:
        if self._connected:
            _logger.warning("cannot read from Kafka for now: %s: %s", type(error).__name__, error)
        self._connected = False


class PartitionReader:
    """Read one partition number of a `KafkaReader`; implements `Reader` of eventlog/log.py.

    It returns records of the last `fetch`, but none until every topic's partition with this number
    is read. Otherwise, the group's assignment could place a label before its prediction.
    """

    def __init__(self, reader: KafkaReader, number: int) -> None:
        self._reader = reader
        self._number = number

    @property
    def drained(self) -> bool:
        """Return whether all records were returned."""
        places = self._complete()
        return bool(places) and self._reader._is_drained(self._number, places)  # noqa: SLF001 - the other half of the same class

    @property
    def patience(self) -> float:
        """Return the patience in seconds; infinite until every topic's partition is read."""
        return self._reader._patience if self._complete() else math.inf  # noqa: SLF001

    @property
    def behind(self) -> int:
        """Return the number of records in the partition that were not returned yet."""
        reader = self._reader
        return sum(reader._unreturned(place) for place in self._complete())  # noqa: SLF001

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` of the fetched records."""
        places = self._complete()
        return self._reader._take(self._number, places, limit) if places else []  # noqa: SLF001

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps found since the last call."""
        streams = {_stream(place) for place in self._reader._places(self._number)}  # noqa: SLF001
        gaps = [gap for gap in self._reader._gaps if gap.stream in streams]  # noqa: SLF001
        for gap in gaps:
            self._reader._gaps.remove(gap)  # noqa: SLF001
        return gaps

    def close(self) -> None:
        """Do nothing, because the `KafkaReader` owns the connection."""

    def _complete(self) -> list[TopicPartition]:
        """Return the partitions with this number if all of them are read, else no partitions."""
        places = self._reader._places(self._number)  # noqa: SLF001
        read = self._reader._topic_epochs.keys() - self._reader._unplaced  # noqa: SLF001
        return places if places and read.issuperset(places) else []


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # the library ships no types
    """Queue newly assigned partitions; called in the client's thread.

    The reader's thread reads the queue. If the client's thread changed `_unplaced` directly, a
    partition that is reassigned while `_place` runs could be lost.
    """

    def __init__(self) -> None:
        self._assigned: deque[TopicPartition] = deque()
        self.rebalancing = True

    def take(self) -> Iterator[TopicPartition]:
        """Yield the partitions that were assigned since the last call."""
        while self._assigned:
            yield self._assigned.popleft()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - implements a protocol
        """Mark the rebalance; the reader's owner handles records that were already returned."""
        self.rebalancing = True

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Queue all assigned partitions, including partitions that were assigned before."""
        self._assigned.extend(assigned)
        self.rebalancing = False


def _stream(place: TopicPartition) -> str:
    return f"{place.topic}/{place.partition}"


def read_message(fetched: FetchedRecord, stream: str, topic_epoch: int) -> Record:
    """Decode a fetched record; its event is an `UnreadableEvent` if the value cannot be decoded."""
    offset, value, raw = fetched.offset, fetched.value, fetched.raw
    beyond = Position(topic_epoch, offset + 1)
    try:
        event = wire.decode(value, raw)
    except UnreadableEvent as error:
        return Record("", topic_epoch, offset, error, value, stream, beyond)
    return Record(event.source, event.epoch, event.sequence, event, value, stream, beyond, raw)


def _damaged(fetched: FetchedRecord, stream: str, topic_epoch: int) -> Record:
    """Convert a dead letter to the unreadable record that it replaces."""
    value, beyond = fetched.value, Position(topic_epoch, fetched.offset + 1)
    try:
        letter = _letters.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        event = UnreadableEvent(f"not a forwarder's dead letter: {error}")
        return Record("", topic_epoch, fetched.offset, event, value, stream, beyond)
    event = UnreadableEvent(letter.reason, letter.received, letter.shard, letter.number)
    return Record(letter.source, letter.epoch, letter.sequence, event, b"", stream, beyond)
