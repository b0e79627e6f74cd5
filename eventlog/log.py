"""Define the interfaces of the event log: one appender per source, and any number of readers.

Appender
    `sequence` numbers the events, gap-free from 0 within an epoch. The caller sets `source`,
    `epoch` and the next sequence number in each event, and appends the events in that order. An
    event with a shard also has the shard's next number, gap-free from 0 within source, epoch and
    shard. `append` is atomic: it stores all events, which survive a kill immediately afterwards, or
    it stores none and raises LogUnavailable. If events must survive a power loss, `once_safe` calls
    back when they are durable; replies wait for this call. If a log drops events on a full disk,
    it leaves a gap in the sequence numbers and counts the dropped events.

Reader
    A log consists of streams. A stream is a source's segments or a partition of a topic. The
    records of a stream are returned in order and at least once. Streams are merged by time of
    reception, as far as the available records allow. `poll` returns at most `limit` records, or
    none if there are no new records. No loss is silent: unreadable bytes become a Record with an
    UnreadableEvent, and a deleted part of a stream becomes a Gap. A reader stores nothing; its
    owner stores the positions and passes them to the next reader.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event


class Position(msgspec.Struct, frozen=True, order=True):
    """The next record that a reader expects in one stream.

    In a partition, the epoch is derived from the topic's id, and the sequence is the offset.
    """

    epoch: int
    sequence: int


Positions = Mapping[str, Position]  # keyed by stream


class Record(msgspec.Struct, frozen=True):
    """One record that was read from the log."""

    source: str  # empty if the writer is unknown
    epoch: int
    sequence: int
    event: Event | UnreadableEvent
    value: bytes = b""  # the logged bytes
    partition: str = ""  # topic partition; empty if the record was read from a segment
    beyond: Position | None = None  # position after the record in its partition
    raw: bytes = b""  # raw part (wire.py); the tensors of `event` contain it

    @property
    def stream(self) -> str:
        """Return the record's stream: its partition or its source."""
        return self.partition or self.source

    @property
    def whole(self) -> bytes:
        """Return the record as one value: JSON with the raw part in base64."""
        return msgspec.json.encode(self.event) if self.raw and self.is_readable else self.value

    @property
    def is_readable(self) -> bool:
        """Return whether the record is a readable event."""
        return not isinstance(self.event, UnreadableEvent)

    @property
    def after(self) -> Position:
        """Return the stream's position after this record."""
        return self.beyond or Position(self.epoch, self.sequence + 1)


Loss = Literal["overrun", "truncated", "recreated", "removed"]
_LOSSES: dict[Loss, str] = {
    "overrun": "records were deleted before they were read",
    "truncated": "it ends before records that were already read",
    "recreated": "it was deleted and re-created",
    "removed": "its folder is no longer in the log",
}


class Gap(msgspec.Struct, frozen=True):
    """A part of a stream that can no longer be read.

    `reason` has one of these values:

    - overrun: unread records were deleted.
    - truncated: the stream ends before the reader's position, so it has lost records.
    - recreated: a new stream has the name of the old stream.
    - removed: the stream no longer exists.
    """

    stream: str
    after: Position  # position at which reading continues
    reason: Loss
    records: int  # number of lost records if truncated, else at most this many; 0 if unknown

    def __str__(self) -> str:
        text = f"{self.stream}: {_LOSSES[self.reason]}"
        if self.reason != "removed":
            text += f"; reading continues at {self.after.sequence}"
        if not self.records:
            return text
        if self.reason == "truncated":
            return f"{text}, {self.records} records that were already read are lost"
        return f"{text}, at most {self.records} records are skipped"


class ShardCounts(msgspec.Struct):
    """The number of events of one shard that a writer has appended in its epoch."""

    number: int = 0  # number of all events; also the `number` of the next event
    predictions: int = 0
    labels: int = 0


class Appender(Protocol):
    """Append events to one source, as its only writer; see the module's contract."""

    @property
    def source(self) -> str:
        """Return the writer's name."""
        ...

    @property
    def epoch(self) -> int:
        """Return the writer's epoch, which is greater than the epoch of every earlier start."""
        ...

    @property
    def next_sequence(self) -> int:
        """Return the sequence number that the next appended event must have."""
        ...

    def next_number(self, shard: str) -> int:
        """Return the number that the next appended event of this shard must have."""
        ...

    def shards(self) -> Collection[str]:
        """Return the shards with events in this epoch."""
        ...

    def counts(self, shard: str) -> ShardCounts:
        """Return the counts of a shard; the caller must not change them."""
        ...

    @property
    def full(self) -> bool:
        """Return whether new requests must be refused, because the disk is full."""
        ...

    @property
    def waits_for_disk(self) -> bool:
        """Return whether `once_safe` calls back later instead of immediately."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Store all events, or raise LogUnavailable and store none."""
        ...

    def once_safe(self, on_safe: Callable[[LogUnavailable | None], None]) -> None:
        """Call `on_safe` in the event loop once all appended events are durable, or on failure."""
        ...

    def close(self) -> None:
        """Release the source; further appends raise LogUnavailable."""
        ...


class Reader(Protocol):
    """Read every stream of a log; see the module's contract. Use from one thread."""

    @property
    def drained(self) -> bool:
        """Return whether the last poll reached the end of every stream."""
        ...

    @property
    def patience(self) -> float:
        """Return how many seconds a record can arrive after later records of its source.

        0 if every source is a separate stream; infinite while another reader has partitions.
        """
        ...

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` new records; blocks for at most milliseconds."""
        ...

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps that polls have found since the last call."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
