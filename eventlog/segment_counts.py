"""Count the events of segments by minute of reception, without decoding their content.

A complete segment never changes, so its counts are stored, and read again while its file has the
same size and time. Damage, gaps and records that are not events are not counted here: a source with
any of them must be read in full.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from eventlog import frames
from eventlog.answer_counts import minute_of
from eventlog.durable_files import replace_file
from eventlog.events import HeartbeatEvent
from eventlog.layout import Segment, ends, segments
from eventlog.log import Position
from eventlog.wire import TAGS

_HEARTBEAT = str(HeartbeatEvent.__struct_config__.tag)


class CountedEvents(msgspec.Struct):
    """Hold the events of a source by minute: all, and those before each position."""

    logged: Counter[int] = msgspec.field(default_factory=Counter)
    before: dict[str, Counter[int]] = {}  # keyed by the name of the position
    first: int | None = None  # minute of the first event
    end: Position = Position(0, 0)  # after the last record


class _Head(msgspec.Struct):
    """Decode what is counted of an event."""

    type: str
    sequence: int
    received: int


class _Segment(msgspec.Struct):
    """Hold the counts of a complete segment."""

    size: int
    modified: int  # nanoseconds
    minutes: dict[int, int]
    first: int | None


class _IrregularSegment(Exception):
    """A segment must be read in full."""


_heads = msgspec.json.Decoder(_Head)
_stored = msgspec.msgpack.Decoder(dict[str, _Segment])


class SegmentCounts:
    """Count sources, with the stored counts of their complete segments."""

    def __init__(self, path: Path) -> None:
        """Read the stored counts; without a readable file, everything is counted."""
        self._path = path
        self._stored_segments: dict[str, _Segment] = {}
        self._used: dict[str, _Segment] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self._stored_segments = _stored.decode(path.read_bytes())

    def count(self, folder: Path, positions: Mapping[str, Position]) -> CountedEvents | None:
        """Count a source; None: it must be read in full."""
        counted = CountedEvents(before={name: Counter() for name in positions})
        present, closed = segments(folder), ends(folder)
        try:
            for index, segment in enumerate(present):
                following = present[index + 1] if index + 1 < len(present) else None
                self._add(segment, _end(segment, following, closed), counted, positions)
        except (_IrregularSegment, OSError):
            return None
        return counted

    def save(self) -> None:
        """Store the counts of the segments that are there, if the home can be written."""
        if self._used != self._stored_segments:
            with contextlib.suppress(OSError):
                replace_file(self._path, msgspec.msgpack.encode(self._used))

    def _add(
        self,
        segment: Segment,
        end: int | None,
        counted: CountedEvents,
        positions: Mapping[str, Position],
    ) -> None:
        stat = segment.path.stat()
        name = f"{segment.path.parent.name}/{segment.path.name}"
        known_segment = self._stored_segments.get(name)
        passed = {n for n, at in positions.items() if end and at >= Position(segment.epoch, end)}
        ahead = {n for n, at in positions.items() if at <= Position(segment.epoch, segment.base)}
        if (
            end is not None
            and known_segment is not None
            and (known_segment.size, known_segment.modified) == (stat.st_size, stat.st_mtime_ns)
            and passed | ahead == positions.keys()
        ):
            self._used[name] = known_segment
            for minutes in (counted.logged, *(counted.before[n] for n in passed)):
                minutes.update(known_segment.minutes)
        else:
            known_segment = _Segment(stat.st_size, stat.st_mtime_ns, {}, None)
            after = _tally(segment, known_segment, counted, positions)
            if end is not None:
                if after != end:
                    raise _IrregularSegment
                self._used[name] = known_segment
            end = after
        if counted.first is None:
            counted.first = known_segment.first
        counted.end = Position(segment.epoch, end)


def _tally(
    segment: Segment, counts: _Segment, counted: CountedEvents, positions: Mapping[str, Position]
) -> int:
    """Count one segment record by record; return the sequence after its last one."""
    until = {name: _until(segment, at) for name, at in positions.items()}
    minutes: Counter[int] = Counter()
    expected = segment.base
    for piece in frames.split(segment.path.read_bytes(), final=False):
        if not isinstance(piece, frames.Frame) or piece.base != expected:
            raise _IrregularSegment
        for sequence, value in enumerate(piece.values, expected):
            minute = _minute(value, sequence)
            if minute is None:
                continue
            if counts.first is None:
                counts.first = minute
            minutes[minute] += 1
            for name, end in until.items():
                if sequence < end:
                    counted.before[name][minute] += 1
        expected += len(piece.values)
    counts.minutes = dict(minutes)
    counted.logged.update(minutes)
    return expected


def _until(segment: Segment, position: Position) -> int:
    """Return the sequence that a reader has reached in the segment's epoch."""
    if position.epoch == segment.epoch:
        return position.sequence
    return 0 if position.epoch < segment.epoch else 1 << 62


def _minute(value: bytes, sequence: int) -> int | None:
    """Return the minute of an event's reception; None for a heartbeat, which answers no request."""
    try:
        head = _heads.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _IrregularSegment from None
    if head.type not in TAGS or head.sequence != sequence:
        raise _IrregularSegment
    return None if head.type == _HEARTBEAT else minute_of(head.received)


def _end(segment: Segment, following: Segment | None, closed: Mapping[int, int]) -> int | None:
    """Return the sequence after a complete segment's last record; None: it may still grow."""
    if following is not None and following.epoch == segment.epoch:
        return following.base
    return closed.get(segment.epoch)
