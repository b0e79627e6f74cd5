"""Define the interfaces of the event log: one writer per source appends, many readers follow.

Appender
    Events are numbered by `sequence`, gap-free from 0 within an epoch. The caller stamps each event
    with `source`, `epoch` and the next sequence, and appends in that order. An event of a shard has
    the next number of that shard as well, gap-free from 0 within source, epoch and shard. `append`
    is atomic: it stores all events, readable even if the process is killed right after, or it
    stores none and raises LogUnavailable. If the log must survive power loss, `once_safe` calls
    back when the events are durable; replies wait for it. A log that drops events on a full disk
    leaves a gap in the sequence and counts it.

Reader
    A log consists of streams: a source's segments, or a partition of a topic. The records of a
    stream are returned in order and at least once. Streams are merged by time of reception, as far
    as written records allow. `poll` returns at most `limit` records, or none if nothing is new. No
    loss is silent: unreadable bytes become a Record with an UnreadableEvent, and a deleted part of
    a stream becomes a Gap. A reader persists nothing: its owner stores the positions and passes
    them to the next reader.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event


class Position(msgspec.Struct, frozen=True, order=True):
    """Identify the next record that a reader expects in one stream.

    In a partition, the epoch identifies the topic's id and the sequence is the offset.
    """

    epoch: int
    sequence: int


Positions = Mapping[str, Position]  # keyed by stream


class Record(msgspec.Struct, frozen=True):
    """Hold one record of the log, as read."""

    source: str  # empty: unknown writer
    epoch: int
    sequence: int
    event: Event | UnreadableEvent
    value: bytes = b""  # bytes as logged
    partition: str = ""  # topic partition; empty: the stream is the source
    beyond: Position | None = None  # position after the record in its partition
    raw: bytes = b""  # its raw part, which the tensors of `event` hold

    @property
    def stream(self) -> str:
        """Return the stream that holds the record."""
        return self.partition or self.source

    @property
    def whole(self) -> bytes:
        """Return the record as one value: JSON with the raw part in base64."""
        return msgspec.json.encode(self.event) if self.raw and self.is_readable else self.value

    @property
    def is_readable(self) -> bool:
        """Return whether the record holds an event."""
        return not isinstance(self.event, UnreadableEvent)

    @property
    def after(self) -> Position:
        """Return the stream's position after this record."""
        return self.beyond or Position(self.epoch, self.sequence + 1)


Loss = Literal["overrun", "truncated", "recreated", "removed"]
_LOSSES: dict[Loss, str] = {
    "overrun": "records were deleted before they were read",
    "truncated": "it ends before what was already read",
    "recreated": "it was deleted and re-created",
    "removed": "its folder is no longer in the log",
}


class Gap(msgspec.Struct, frozen=True):
    """Report a part of a stream that can no longer be read.

    Overrun: unread records were deleted. Truncated: the stream ends before the reader's position,
    so records that were already read are gone. Recreated: another stream has this name. Removed:
    the stream is gone.
    """

    stream: str
    after: Position  # position at which reading continues
    reason: Loss
    records: int  # upper bound of skipped records, or number of truncated ones; 0: unknown

    def __str__(self) -> str:
        text = f"{self.stream}: {_LOSSES[self.reason]}"
        if self.reason != "removed":
            text += f"; reading continues at {self.after.sequence}"
        if not self.records:
            return text
        if self.reason == "truncated":
            return f"{text}, {self.records} records that were read are gone"
        return f"{text}, at most {self.records} records were passed over"


class ShardCounts(msgspec.Struct):
    """Hold the events of one shard that a writer has appended in its epoch."""

    number: int = 0  # number of all events; also the number of the next one
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
        """Return the writer's epoch: grows with each start, and is never used again."""
        ...

    @property
    def next_sequence(self) -> int:
        """Return the sequence that the next appended event must carry."""
        ...

    def next_number(self, shard: str) -> int:
        """Return the number that the next appended event of this shard must carry."""
        ...

    def shards(self) -> Collection[str]:
        """Return the shards with events in this epoch."""
        ...

    def counts(self, shard: str) -> ShardCounts:
        """Return the counts of a shard; do not change them."""
        ...

    @property
    def full(self) -> bool:
        """Return whether new requests must be refused, because their events may not fit on disk."""
        ...

    @property
    def waits_for_disk(self) -> bool:
        """Return whether `once_safe` may call back with a delay."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Store all events, or raise LogUnavailable and store none."""
        ...

    def once_safe(self, on_safe: Callable[[LogUnavailable | None], None]) -> None:
        """Call `on_safe` in the event loop once all appended events are durable as configured."""
        ...

    def close(self) -> None:
        """Release the source; further appends raise LogUnavailable."""
        ...


class Reader(Protocol):
    """Follow every stream of a log; see the module's contract. Use from one thread."""

    @property
    def drained(self) -> bool:
        """Return whether the last poll reached the end of every stream."""
        ...

    @property
    def patience(self) -> float:
        """Return the seconds for which a record may arrive after later records of its source.

        0 if every source is its own stream; infinite while another reader owns some partitions.
        """
        ...

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` new records; blocks for milliseconds at most."""
        ...

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps that polls have found since the last call."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
