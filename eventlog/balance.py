"""Answered, logged, forwarded, monitored: one source's figures side by side, for a range of time.

Everything that decides whether they agree lives here. All count events by the minute of their
reception. What the forwarder could not forward is dead-lettered, which is no difference. Neither is
what lies behind the forwarder's or the monitor's position in the log: it is in flight. So is what
the monitor still misses without having given it up.
"""

from collections import Counter
from collections.abc import Container, Iterable

import msgspec

from eventlog.answer_counts import minute_of
from eventlog.errors import UnreadableEvent
from eventlog.log import Position, Record

Minutes = Counter[int]  # events by the minute of their reception
EVER = (0, 1 << 62)


class SourceCounts(msgspec.Struct):
    """The counters of one source by minute; None where there is no counter."""

    source: str
    answered: Minutes | None = None
    logged: Minutes = msgspec.field(default_factory=Counter)
    forwarded: Minutes | None = None
    dead_lettered: Minutes | None = None  # by the forwarder
    due: Minutes = msgspec.field(default_factory=Counter)  # logged below the monitor's place
    monitored: Minutes | None = None
    missing: int = 0  # by the monitor, not given up
    uncounted: int = 0  # taken in by an earlier release, which did not count them by minute
    begins: int = 0  # the first minute of which segments and monitor hold everything


class Balance(msgspec.Struct, frozen=True):
    """The figures of a source in a range, and where they differ."""

    source: str
    answered: int | None
    logged: int
    forwarded: int | None
    dead_lettered: int | None
    monitored: int | None
    unlogged: int  # answered, but not in the segments
    unmonitored: int  # in the log and passed by the monitor, but not taken in
    clipped: bool  # whether retention has deleted a part of the range
    uncounted: int = 0  # of `unmonitored`, what an earlier release took in and did not count
    surplus: int = 0  # counted by the monitor more often than logged

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing except events in flight."""
        return not self.unlogged and not self.unmonitored and not self.surplus


def count_records(
    book: SourceCounts,
    records: Iterable[Record],
    cursor: Position,
    seen: Position,
    dead_letters: Container[tuple[str, int, int]] = (),
) -> None:
    """Count records of the segments.

    `cursor` and `seen` are the forwarder's and the monitor's positions, `dead_letters` are source,
    epoch and sequence of what the forwarder could not forward.
    """
    for record in records:
        if isinstance(record.event, UnreadableEvent):
            continue
        minute = minute_of(record.event.received)
        place = Position(record.epoch, record.sequence)
        book.logged[minute] += 1
        if place < cursor:
            dead = (record.source, record.epoch, record.sequence) in dead_letters
            counts = book.dead_lettered if dead else book.forwarded
            if counts is not None:
                counts[minute] += 1
        if place < seen:
            book.due[minute] += 1


def balance_of(book: SourceCounts, minutes: tuple[int, int] = EVER) -> Balance:
    """The figures for the minutes `[first, last)`, as far as the segments still hold them."""
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
        # Other hosts' sources come from Kafka: their segments are not here.
        surplus=max(0, (monitored or 0) - due) if book.logged else 0,
    )
