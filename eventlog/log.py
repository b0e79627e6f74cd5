"""The ports of the event log: one writer appends, any number of readers follow.

What an Appender promises
    Events are numbered by `sequence`, gap-free from 0 within an epoch; the caller stamps each event
    with `source`, `epoch` and the next free sequence, and appends them in that order. `append`
    either keeps all of the given events, readable by every reader even if this process is killed
    the moment it returns, or raises LogUnavailable and keeps none of them. A log that shall also
    survive power loss says later, by `once_safe`, that it does: no reply leaves before that. One
    that was told to drop what finds no space leaves a gap in the sequence, and counts it.

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
    """Where a reader stands in one stream: the next record it expects.

    In a partition the epoch is one life of its topic, and the sequence is the offset.
    """

    epoch: int
    sequence: int


Positions = Mapping[str, Position]  # by stream


class Record(msgspec.Struct, frozen=True):
    """One record of the log as a reader finds it."""

    source: str  # empty where nothing says who wrote it
    epoch: int
    sequence: int
    event: Event | UnreadableEvent
    value: bytes = b""  # as it lies in the log
    partition: str = ""  # the stream, where that is not the source itself
    beyond: Position | None = None  # the position after it, in the partition

    @property
    def stream(self) -> str:
        """Where it was found."""
        return self.partition or self.source

    @property
    def after(self) -> Position:
        """The position of its stream once this record has been taken in."""
        return self.beyond or Position(self.epoch, self.sequence + 1)


Loss = Literal["overrun", "truncated", "recreated"]


class Gap(msgspec.Struct, frozen=True):
    """A part of a stream that can no longer be read.

    Overrun: what was unread has been deleted. Truncated: the stream ends before the position that
    was read up to, so that records may follow which look as if they had been read. Recreated:
    another stream bears its name now.
    """

    stream: str
    after: Position  # where reading goes on
    reason: Loss
    records: int  # at most so many were passed over; 0 where nothing says how many


class Appender(Protocol):
    """The one writer of a source; see the promises above."""

    @property
    def source(self) -> str:
        """This writer's name."""
        ...

    @property
    def epoch(self) -> int:
        """Which life of the writer this is, from 1."""
        ...

    @property
    def next_sequence(self) -> int:
        """The sequence that the next appended event must carry."""
        ...

    @property
    def full(self) -> bool:
        """Whether new work must be refused, because its events may find no space."""
        ...

    @property
    def waits_for_disk(self) -> bool:
        """Whether `once_safe` may call back later than at once."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Keep all events or, with LogUnavailable, none."""
        ...

    def once_safe(self, told: Callable[[LogUnavailable | None], None]) -> None:
        """Call back, in the event loop, once all that was appended is as safe as was asked for."""
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
        """Seconds for which a record may still come after its source's later ones.

        0 where every source is a stream of its own; infinite while another reader has a part.
        """
        ...

    def poll(self, limit: int) -> Sequence[Record]:
        """What is new, at most `limit` records; hardly waits."""
        ...

    def gaps(self) -> Sequence[Gap]:
        """What the polls since the last call had to pass over; nothing, as a rule."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
