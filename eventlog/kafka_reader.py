"""Read the Kafka topics as a log; implements `Reader` of eventlog/log.py.

The owner stores the positions. Nothing is committed to Kafka: the consumer group only assigns
partitions. The client never resets an offset: `_place` chooses the first offset to read and reports
skipped records.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
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
from eventlog.errors import UnreadableEvent
from eventlog.kafka import PROTOCOL_VERSION, partition_fault
from eventlog.kafka_settings import KafkaSettings
from eventlog.log import Gap, Loss, Position, Positions, Record
from eventlog.merge import Merge

_logger = logging.getLogger(__name__)

_FETCH_WAIT = 50  # milliseconds that a poll may wait for the broker
_ANSWER_WITHIN = 10_000  # timeout of a query of a partition's offsets, in milliseconds
_HELD = 8_000  # most buffered records per partition; beyond them, its fetches are discarded


class _Letter(msgspec.Struct):
    """Decode the dead letter that the forwarder sends for a record."""

    source: str
    epoch: int
    sequence: int
    reason: str
    received: int | None = None  # None: the event is unreadable
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
        claim: Callable[[str], bool] = lambda _stream: True,
    ) -> None:
        """Subscribe to the topics; `poll` connects, so an absent broker delays no start.

        `positions` is read when a partition is assigned. Before that, each poll calls
        `claim(stream)` until it returns True, so that monitors with shared positions agree on one
        owner. `patience`: seconds for which an event may arrive after later ones of its source.
        """
        self.drained = False
        self._settings = settings
        self._positions = positions
        self._patience = patience
        self._topics = settings.topics
        self._claim = claim
        self._merge = Merge()
        self._lives: dict[TopicPartition, int] = {}  # topic epoch of each partition being read
        self._next: dict[TopicPartition, int] = {}
        self._gaps: list[Gap] = []
        self._unplaced: set[TopicPartition] = set()
        self._connected = True
        self._fault = ""  # of the partitions, as logged last
        self._consumer = KafkaConsumer(
            **settings.connection,
            api_version=PROTOCOL_VERSION,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            partition_assignment_strategy=(RangePartitionAssignor,),  # predictions join labels
            session_timeout_ms=10_000,  # the group notices a killed reader after this time
            metadata_max_age_ms=10_000,
            metrics_enabled=False,
        )
        self._consumer.subscribe(self._topics, listener=_Listener(self._unplaced))

    @property
    def patience(self) -> float:
        """Return the patience in seconds; infinite while another reader owns some partitions."""
        return self._patience if self.given == self.streams else math.inf

    @property
    def streams(self) -> set[str]:
        """Return all partitions of the topics, assigned to this reader or not."""
        return {
            _stream(TopicPartition(topic, partition))
            for topic in self._topics
            for partition in self._cluster.partitions_for_topic(topic) or ()
        }

    @property
    def given(self) -> set[str]:
        """Return the partitions that this reader reads."""
        return {_stream(place) for place in self._lives}

    @property
    def ended(self) -> set[str]:
        """Return the assigned partitions that are read to their end, with no buffered record."""
        return {
            stream
            for place in self._lives.keys() - self._unplaced
            if self._at_end(place) and not self._merge.held(stream := _stream(place))
        }

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` new records; blocks for milliseconds at most."""
        fetched = self._fetch(limit)
        self._follow_assignment()
        self._check_partitions()
        for place, found in fetched.items():
            if place in self._lives and place not in self._unplaced:
                self._ingest(place, found)
        for place in sorted(self._unplaced & self._consumer.assignment()):
            self._try(self._place, place)
        ended = {_stream(place) for place in self._lives if self._at_end(place)}
        records = self._merge.take(limit, ended)
        placed = set(self._lives) == self._consumer.assignment() != set()
        self.drained = (
            self._connected
            and placed
            and not self._unplaced
            and len(ended) == len(self._lives)
            and not any(self._merge.held(stream) for stream in ended)
        )
        return records

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps found since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def close(self) -> None:
        """Leave the group and close the connections."""
        with contextlib.suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=1000)

    @property
    def _cluster(self) -> Any:
        return self._consumer._cluster  # noqa: SLF001 - the public methods query the broker each time

    def _fetch(self, limit: int) -> dict[TopicPartition, list[Any]]:
        try:
            fetched: dict[TopicPartition, list[Any]] = self._consumer.poll(_FETCH_WAIT, limit)
        except NoOffsetForPartitionError:
            return {}  # newly assigned: the listener has marked the partition
        except OffsetOutOfRangeError as error:
            self._unplaced.update(error.args[0])
            return {}
        except LogTruncationError as error:
            for place, at in error.divergent_offsets.items():
                if place in self._lives:
                    self._try(self._go_back, place, at.offset if at else None)
            return {}
        except KafkaError as error:
            self._log_once(error)
            return {}
        self._connected = True
        return fetched

    def _follow_assignment(self) -> None:
        """Drop partitions that were revoked, and notice re-created topics."""
        assigned = self._consumer.assignment()
        for place in self._lives.keys() - assigned:
            self._merge.close(_stream(place))
            del self._lives[place], self._next[place]
        self._unplaced.update(assigned - self._lives.keys())
        for place, life in self._lives.items():
            if self._life(place.topic) not in (life, None):
                self._unplaced.add(place)

    def _check_partitions(self) -> None:
        """Log an error where the topics keyed by shard differ; no forwarder writes to them then."""
        topics = self._settings.keyed_topics
        counts = {topic: len(self._cluster.partitions_for_topic(topic) or ()) for topic in topics}
        fault = partition_fault(counts) if all(counts.values()) else ""
        if fault and fault != self._fault:
            _logger.error("%s", fault)
        self._fault = fault

    def _ingest(self, place: TopicPartition, found: Sequence[Any]) -> None:
        stream, life = _stream(place), self._lives[place]
        if self._merge.held(stream) >= _HELD:
            # Discard and fetch again later. Pausing would be cheaper, but kafka-python 3.0.12
            # sometimes never resumes a partition that was paused during a fetch.
            self._consumer.seek(place, self._next[place])
            return
        records = [_record(record, stream, life, self._settings) for record in found]
        self._merge.add(stream, records)
        self._next[place] = found[-1].offset + 1

    def _go_back(self, place: TopicPartition, offset: int | None) -> None:
        """Continue at the offset where the log diverges; None: unknown, so at the oldest record."""
        self._begin(place, self._ends(place)[0] if offset is None else offset, "truncated")

    def _try(self, work: Callable[..., None], *about: Any) -> None:
        """Run a query of the broker; if it fails, log it, and the next poll retries."""
        try:
            work(*about)
        except KafkaError as error:
            self._log_once(error)

    def _place(self, place: TopicPartition) -> None:
        """Begin at the owner's position, after a gap, or at the oldest record."""
        life = self._life(place.topic)
        if life is None or not self._claim(_stream(place)):
            return
        first, end = self._ends(place)
        known = self._positions.get(_stream(place))
        self._lives[place] = life
        if known is None:
            self._begin(place, first, None)
        elif known.epoch != life:
            self._begin(place, first, "recreated")
        elif known.sequence > end:
            self._begin(place, end, "truncated")
        elif known.sequence < first:
            self._begin(place, first, "overrun", first - known.sequence)
        else:
            self._begin(place, known.sequence, None)

    def _begin(
        self, place: TopicPartition, offset: int, loss: Loss | None, records: int = 0
    ) -> None:
        stream = _stream(place)
        self._consumer.seek(place, offset)
        self._merge.open(stream)
        self._next[place] = offset
        self._unplaced.discard(place)
        if loss is not None:
            self._gaps.append(Gap(stream, Position(self._lives[place], offset), loss, records))

    def _ends(self, place: TopicPartition) -> tuple[int, int]:
        first = self._consumer.beginning_offsets([place], timeout_ms=_ANSWER_WITHIN)
        end = self._consumer.end_offsets([place], timeout_ms=_ANSWER_WITHIN)
        return first[place], end[place]

    def _at_end(self, place: TopicPartition) -> bool:
        end = self._consumer.highwater(place)
        return end is not None and self._next[place] >= end

    def _life(self, topic: str) -> int | None:
        """Return the high 52 bits of the topic's id, which every JSON reader holds exactly."""
        topic_id: UUID | None = self._cluster.topic_id(topic)
        return None if topic_id is None else topic_id.int >> 76

    def _log_once(self, error: KafkaError) -> None:
        if self._connected:
            _logger.warning("cannot read from Kafka for now: %s: %s", type(error).__name__, error)
        self._connected = False


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # the library ships no types
    """Mark newly assigned partitions; called in the client's thread."""

    def __init__(self, unplaced: set[TopicPartition]) -> None:
        self._unplaced = unplaced

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Do nothing: the owner handles records already returned."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Mark all assigned partitions, including those assigned before."""
        self._unplaced.update(assigned)


def _stream(place: TopicPartition) -> str:
    return f"{place.topic}/{place.partition}"


def _record(found: Any, stream: str, life: int, settings: KafkaSettings) -> Record:
    beyond = Position(life, found.offset + 1)
    if found.topic == settings.dead_letters:
        return _damaged(found.value or b"", stream, beyond)
    value = found.value or b""
    raw = next((held or b"" for name, held in found.headers or () if name == wire.RAW), b"")
    try:
        event = wire.decode(value, raw)
    except UnreadableEvent as error:
        return Record("", life, found.offset, error, value, stream, beyond)
    return Record(event.source, event.epoch, event.sequence, event, value, stream, beyond, raw)


def _damaged(value: bytes, stream: str, beyond: Position) -> Record:
    """Convert a dead letter to the unreadable record that it replaces."""
    try:
        letter = _letters.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        event = UnreadableEvent(f"no letter of a forwarder: {error}")
        return Record("", beyond.epoch, beyond.sequence - 1, event, value, stream, beyond)
    event = UnreadableEvent(letter.reason, letter.received, letter.shard, letter.number)
    return Record(letter.source, letter.epoch, letter.sequence, event, b"", stream, beyond)
