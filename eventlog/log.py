"""The ports of the event log: one writer appends, any number of readers follow.

What an Appender promises
    Events are numbered by `sequence`, gap-free from 0 within an epoch; the caller stamps each event
    with `source`, `epoch` and the next free sequence, and appends them in that order. `append`
    either keeps all of the given events, readable by every reader even if this process is killed
    the moment it returns, or raises LogUnavailable and keeps none of them. A log that shall also
    survive power loss says later, by `once_safe`, that it does: no reply leaves before that. One
    that was told to drop what finds no space leaves a gap in the sequence, and counts it.

What a Reader promises
    Each source's records come in order, every one at least once; sources interleave freely. `poll`
    returns what is there, at most `limit` records, and an empty list when nothing is new. Nothing
    is skipped in silence: bytes that cannot be read come as a Record whose event is an
    UnreadableEvent. A reader keeps no state of its own between lives: its owner stores the
    positions of what it has taken in and hands them to the next reader.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event


class Position(msgspec.Struct, frozen=True, order=True):
    """Where a reader stands in one source: the next record it expects."""

    epoch: int
    sequence: int


Positions = Mapping[str, Position]  # by source


class Record(msgspec.Struct, frozen=True):
    """One record of the log as a reader finds it."""

    source: str
    epoch: int
    sequence: int
    event: Event | UnreadableEvent
    value: bytes = b""  # as it lies in the log

    @property
    def after(self) -> Position:
        """The position once this record has been taken in."""
        return Position(self.epoch, self.sequence + 1)


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
    """Follows every source of a log; see the promises above."""

    def poll(self, limit: int) -> Sequence[Record]:
        """What is new, oldest first per source, at most `limit` records; never waits."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
