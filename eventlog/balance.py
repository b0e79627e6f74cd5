"""Compare how many events of a source were answered, logged, forwarded and monitored.

Every counter is keyed by the minute of reception. Three kinds of events do not count as
differences: dead-lettered events, events in flight (after the forwarder's or the monitor's
position), and missing events that the monitor still expects.
"""

from collections import Counter
from collections.abc import Container, Iterable

import msgspec

from eventlog.answer_counts import minute_of
from eventlog.errors import UnreadableEvent
from eventlog.events import HeartbeatEvent
from eventlog.log import Position, Record

Minutes = Counter[int]  # minute of reception -> number of events
EVER = (0, 1 << 62)


class SourceCounts(msgspec.Struct):
    """The counters of one source by minute; None for events that were not counted."""

    source: str
    answered: Minutes | None = None
    logged: Minutes = msgspec.field(default_factory=Counter)
    forwarded: Minutes | None = None
    dead_lettered: Minutes | None = None  # by the forwarder
    due: Minutes = msgspec.field(default_factory=Counter)  # logged before the monitor's position
    monitored: Minutes | None = None
    missing: int = 0  # missing events that the monitor still expects
    uncounted: int = 0  # events ingested by a release that did not count events by minute
    begins: int = 0  # first minute that segments and monitor cover completely
    end: Position = Position(0, 0)  # position after the last record of the log
    cut: bool = False  # whether the log has lost events that were already read
    damaged: int = 0  # unreadable records before the monitor's position
    removed: bool = False  # whether the source had a folder in the log
    lost: int = 0  # events that the monitor no longer expects
    missing_by_shard: dict[str, int] = msgspec.field(default_factory=dict)
    silent_since: int = 0  # time in us at which a heartbeat was missed; 0 if none was missed


class Balance(msgspec.Struct, frozen=True):
    """The totals of a source in a time range, and their differences."""

    source: str
    answered: int | None
    logged: int
    forwarded: int | None
    dead_lettered: int | None
    monitored: int | None
    unlogged: int  # events that were answered, but are not in the segments
    unmonitored: int  # events before the monitor's position that it has not ingested
    clipped: bool  # whether retention has deleted a part of the range
    uncounted: int = 0  # events ingested by a release without counts by minute
    surplus: int = 0  # number of monitored events that exceeds the logged events
    cut: bool = False  # whether the log has lost events that were already read
    removed: bool = False  # whether the source had a folder in the log
    lost: int = 0
    missing_by_shard: dict[str, int] = {}
    silent_since: int = 0

    @property
    def balanced(self) -> bool:
        """Return whether all counters agree, apart from events in flight."""
        # For a new monitor, events that retention had deleted before count as lost.
        lost = self.lost and not self.clipped
        return not (self.unlogged or self.unmonitored or self.surplus or lost)


def count_records(
    book: SourceCounts,
    records: Iterable[Record],
    cursor: Position,
    monitored: Position,
    dead_letters: Container[tuple[str, int, int]] = (),
) -> None:
    """Add records of the segments to the counters of `book`.

    `cursor` and `monitored` are the positions of the forwarder and the monitor. `dead_letters`
    contains source, epoch and sequence number of every dead letter.
    """
    for record in records:
        place = Position(record.epoch, record.sequence)
        book.end = record.after
        if isinstance(record.event, UnreadableEvent):
            book.damaged += place < monitored
            continue
        if isinstance(record.event, HeartbeatEvent):  # not an answer to a client
            continue
        minute = minute_of(record.event.received)
        book.logged[minute] += 1
        if place < cursor:
            dead = (record.source, record.epoch, record.sequence) in dead_letters
            counts = book.dead_lettered if dead else book.forwarded
            if counts is not None:
                counts[minute] += 1
        if place < monitored:
            book.due[minute] += 1


def balance_of(book: SourceCounts, minutes: tuple[int, int] = EVER) -> Balance:
    """Return the balance of the minutes `[first, last)` that retention has not deleted."""
    first, last = max(minutes[0], book.begins), minutes[1]

    def within(counts: Minutes | None) -> int | None:
        if counts is None:
            return None
        return sum(count for minute, count in counts.items() if first <= minute < last)

    answered, logged, monitored = within(book.answered), within(book.logged), within(book.monitored)
    assert logged is not None
    due = within(book.due) or 0
    missed = 0 if monitored is None else max(0, due - monitored - book.missing)
    uncounted = min(missed, book.uncounted)
    # Sources of other hosts are monitored through Kafka and have no segments in this log.
    surplus = max(0, (monitored or 0) - due) if book.logged else 0
    return Balance(
        source=book.source,
        answered=answered,
        logged=logged,
        forwarded=within(book.forwarded),
        dead_lettered=within(book.dead_lettered),
        monitored=monitored,
        unlogged=max(0, (answered or 0) - logged),
        unmonitored=missed - uncounted,
        clipped=minutes[0] < book.begins,
        uncounted=uncounted,
        surplus=surplus,
        cut=book.cut or surplus <= book.damaged,
        removed=book.removed,
        lost=book.lost if minutes == EVER else 0,
        missing_by_shard=book.missing_by_shard,
        silent_since=book.silent_since,
    )
