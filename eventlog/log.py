"""The ports of the event log: one writer appends, any number of readers follow.

What an Appender promises
    Events are numbered by `sequence`, gap-free from 0 within an epoch; the caller stamps each event
    with `source`, `epoch` and the next free sequence, and appends them in that order. `append`
    either stores all of the given events, readable by every reader even if this process is killed
    the moment it returns, or raises LogUnavailable and stores none of them. If the log must also
    survive power loss, `once_safe` calls back when it does: no reply leaves before that. A log set
    to drop events on a full disk leaves a gap in the sequence, and counts it.

What a Reader promises
    A log consists of streams: a source's segments, or a partition of a topic. Each stream's records
    come in the order in which they lie there, every one at least once; streams are merged by the
    time of reception, as well as what has been written allows. `poll` returns what is there, at
    most `limit` records, and an empty list when nothing is new. Nothing is skipped in silence:
    bytes that cannot be read come as a Record whose event is an UnreadableEvent, and a part of a
    stream that is gone comes as a Gap. A reader keeps no state of its own between lives: its owner
    stores the position of each stream and hands them to the next reader.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event


class Position(msgspec.Struct, frozen=True, order=True):
    """A reader's position in one stream: the next record it expects.

    In a partition the epoch stands for the topic's id, and the sequence is the offset.
    """

    epoch: int
    sequence: int


Positions = Mapping[str, Position]  # by stream


class Record(msgspec.Struct, frozen=True):
    """One record of the log as a reader finds it."""

    source: str  # empty where the writer is unknown
    epoch: int
    sequence: int
    event: Event | UnreadableEvent
    value: bytes = b""  # as it lies in the log
    partition: str = ""  # the stream, where that is not the source itself
    beyond: Position | None = None  # the position after it, in the partition

    @property
    def stream(self) -> str:
        """The stream that holds the record."""
        return self.partition or self.source

    @property
    def after(self) -> Position:
        """The position of its stream after this record."""
        return self.beyond or Position(self.epoch, self.sequence + 1)


Loss = Literal["overrun", "truncated", "recreated"]


class Gap(msgspec.Struct, frozen=True):
    """A part of a stream that can no longer be read.

    Overrun: unread records were deleted. Truncated: the stream ends before the reader's position,
    so later records may look as if they had been read. Recreated: another stream has this name now.
    """

    stream: str
    after: Position  # where reading continues
    reason: Loss
    records: int  # at most this many were skipped; 0 if the number is unknown


class Appender(Protocol):
    """The one writer of a source; see the promises above."""

    @property
    def source(self) -> str:
        """This writer's name."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch of this writer, from 1: each restart is a new one."""
        ...

    @property
    def next_sequence(self) -> int:
        """The sequence that the next appended event must carry."""
        ...

    @property
    def full(self) -> bool:
        """Whether new requests must be refused, because there may be no space for their events."""
        ...

    @property
    def waits_for_disk(self) -> bool:
        """Whether `once_safe` may call back later than at once."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Store all events, or none and raise LogUnavailable."""
        ...

    def once_safe(self, on_safe: Callable[[LogUnavailable | None], None]) -> None:
        """Call `on_safe`, in the event loop, once all appended events are durable as configured."""
        ...

    def close(self) -> None:
        """Release the source; further appends raise LogUnavailable."""
        ...


class Reader(Protocol):
    """Follows every stream of a log; see the promises above."""

    @property
    def drained(self) -> bool:
        """Whether the last poll found the end of every stream."""
        ...

    @property
    def patience(self) -> float:
        """Seconds for which a record may still arrive after later records of its source.

        0 where every source is its own stream; infinite while another reader has some partitions.
        """
        ...

    def poll(self, limit: int) -> Sequence[Record]:
        """Return new records, at most `limit`; waits for milliseconds at most."""
        ...

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps that polls since the last call found; usually none."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
