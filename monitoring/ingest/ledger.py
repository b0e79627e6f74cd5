"""Track which events of a source have arrived. Pure.

In each epoch (one run of a source), sequence numbers start at 0 and have no gaps. Streams can
overtake each other, so a skipped number is first missing. It is lost once no record can be in
flight (`give_up`). A number that arrives twice is a duplicate and is not counted again. A lost
number that arrives later is ingested and counts as recovered.

A ledger stores the highest position and the holes below it, so its size depends on the disorder,
not on the length of the log. No record states how many events an epoch has. Between two epochs
there is therefore a hole of unknown size.
"""

from bisect import bisect_right

from msgspec.structs import replace

from eventlog.log import Position
from eventlog.reception_clock import TOLERANCE, ReceptionClock
from monitoring.results import Hole, SourceLedger

MOST_HOLES = 256  # maximum holes of a ledger; beyond it, the oldest hole counts as lost


def enter(
    ledger: SourceLedger,
    place: Position,
    *,
    readable: bool,
    beat: bool = False,
    received: int = 0,
) -> tuple[SourceLedger, bool]:
    """Return the ledger with a record added, and whether the record is new.

    `received` is the record's reception in microseconds, 0 if unknown; `beat` marks a heartbeat.
    """
    top = ledger.top
    if place < top:
        return _fill(ledger, place, readable=readable, beat=beat, received=received)
    time, departed = _clock(ledger, received)
    after = replace(
        ledger,
        epoch=place.epoch,
        next_sequence=place.sequence + 1,
        received=time,
        departed=departed,
        events=ledger.events + (not beat),
        heartbeats=ledger.heartbeats + beat,
        unreadable=ledger.unreadable + (not readable),
    )
    return (after if place == top else _bounded(after, _between(top, place))), True


def skip_to(ledger: SourceLedger, place: Position) -> SourceLedger:
    """Return the ledger moved past a record that another ledger has counted."""
    if place < ledger.top:
        return ledger
    after, _ = enter(ledger, place, readable=True)
    return replace(after, events=ledger.events)


def _clock(ledger: SourceLedger, received: int) -> tuple[int, int]:
    """Return the ledger's `received` and `departed` after a reception, 0 if unknown."""
    time, departed = ledger.received, ledger.departed
    if not departed and 0 <= received - time <= TOLERANCE:  # the hot path: runs for every event
        return received, 0
    clock = ReceptionClock(time, departed)
    if received:
        clock = clock.after(received)
    return clock.time, clock.departed


def give_up(ledger: SourceLedger, before: Position) -> SourceLedger:
    """Return the ledger with its missing numbers below a position counted as lost."""
    overdue = sum(hole.size for hole in ledger.holes if not hole.lost and hole.end <= before)
    holes = [replace(hole, lost=True) if hole.end <= before else hole for hole in ledger.holes]
    return replace(ledger, lost=ledger.lost + overdue, holes=holes)


def _fill(
    ledger: SourceLedger, place: Position, *, readable: bool, beat: bool, received: int
) -> tuple[SourceLedger, bool]:
    at = bisect_right(ledger.holes, place, key=lambda hole: hole.start) - 1
    if at < 0 or place >= ledger.holes[at].end:
        return replace(ledger, duplicated=ledger.duplicated + 1), False
    hole = ledger.holes[at]
    recovered = hole.lost and hole.size > 0
    time, departed = _clock(ledger, received)
    after = replace(
        ledger,
        received=time,
        departed=departed,
        events=ledger.events + (not beat),
        heartbeats=ledger.heartbeats + beat,
        unreadable=ledger.unreadable + (not readable),
        lost=ledger.lost - recovered,
        recovered=ledger.recovered + recovered,
        holes=[*ledger.holes[:at], *_without(hole, place), *ledger.holes[at + 1 :]],
    )
    return _bounded(after, []), True


def _between(top: Position, place: Position) -> list[Hole]:
    """Return the holes between the highest position so far and a new record's position."""
    if place.epoch == top.epoch:
        return [Hole(top, place)]
    begin = Position(place.epoch, 0)
    holes = [] if top == Position(0, 0) else [Hole(top, begin)]
    return holes if place == begin else [*holes, Hole(begin, place)]


def _without(hole: Hole, place: Position) -> list[Hole]:
    """Return the rest of a hole after the number at `place` has arrived."""
    after = Position(place.epoch, place.sequence + 1)
    parts: list[Hole] = []
    if hole.start.epoch == place.epoch:
        # A hole of unknown size counts no losses. This part now has a size and is missing.
        parts.append(Hole(hole.start, place, lost=hole.lost and hole.size > 0))
    else:
        begin = Position(place.epoch, 0)
        parts += [Hole(hole.start, begin, lost=hole.lost), Hole(begin, place)]
    parts.append(Hole(after, hole.end, lost=hole.lost))
    return [part for part in parts if part.start < part.end]


def _bounded(ledger: SourceLedger, new_holes: list[Hole]) -> SourceLedger:
    holes = [*ledger.holes, *new_holes]
    while len(holes) > MOST_HOLES:
        oldest = holes.pop(0)
        if not oldest.lost:
            ledger = replace(ledger, lost=ledger.lost + oldest.size)
    return replace(ledger, holes=holes)
