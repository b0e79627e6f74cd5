"""Count the events of segments by minute of reception, without decoding their payloads.

A complete segment never changes, so its counts are stored and reused while the size and
modification time of its file are the same. A source with damage, gaps or records that are not
events cannot be counted here and must be read completely.
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
    """The number of events of a source by minute of reception."""

    logged: Counter[int] = msgspec.field(default_factory=Counter)
    before: dict[str, Counter[int]] = {}  # name of a position -> events before this position
    first: int | None = None  # minute of the first event
    end: Position = Position(0, 0)  # position after the last record


class _Head(msgspec.Struct):
    """The fields of an event that are needed for counting."""

    type: str
    sequence: int
    received: int


class _Segment(msgspec.Struct):
    """The counts of one segment."""

    size: int  # bytes
    modified: int  # modification time in nanoseconds
    minutes: dict[int, int]  # minute -> number of events
    first: int | None  # minute of the first event


class _IrregularSegment(Exception):
    """A segment that has damage, gaps or records that are not events."""


_heads = msgspec.json.Decoder(_Head)
_stored = msgspec.msgpack.Decoder(dict[str, _Segment])


class SegmentCounts:
    """Count the events of sources, reusing stored counts of complete segments."""

    def __init__(self, path: Path) -> None:
        """Read the stored counts; if the file is unreadable, all segments are counted."""
        self._path = path
        self._stored_segments: dict[str, _Segment] = {}
        self._used: dict[str, _Segment] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self._stored_segments = _stored.decode(path.read_bytes())

    def count(self, folder: Path, positions: Mapping[str, Position]) -> CountedEvents | None:
        """Count a source's events; return None if the source must be read completely."""
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
        """Store the counts of the segments that still exist, if the home can be written."""
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
        counts = self._stored_segments.get(name)
        passed = {n for n, at in positions.items() if end and at >= Position(segment.epoch, end)}
        ahead = {n for n, at in positions.items() if at <= Position(segment.epoch, segment.base)}
        if (
            end is not None
            and counts is not None
            and (counts.size, counts.modified) == (stat.st_size, stat.st_mtime_ns)
            and passed | ahead == positions.keys()
        ):
            self._used[name] = counts
            for minutes in (counted.logged, *(counted.before[n] for n in passed)):
                minutes.update(counts.minutes)
        else:
            counts = _Segment(stat.st_size, stat.st_mtime_ns, {}, None)
            after = _count_records(segment, counts, counted, positions)
            if end is not None:
                if after != end:
                    raise _IrregularSegment
                self._used[name] = counts
            end = after
        if counted.first is None:
            counted.first = counts.first
        counted.end = Position(segment.epoch, end)


def _count_records(
    segment: Segment, counts: _Segment, counted: CountedEvents, positions: Mapping[str, Position]
) -> int:
    """Count one segment record by record; return the sequence number after its last record."""
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
    """Return the first sequence number of the segment's epoch that is after the position."""
    if position.epoch == segment.epoch:
        return position.sequence
    return 0 if position.epoch < segment.epoch else 1 << 62


def _minute(value: bytes, sequence: int) -> int | None:
    """Return an event's minute of reception, or None for a heartbeat, which is not an answer."""
    try:
        head = _heads.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _IrregularSegment from None
    if head.type not in TAGS or head.sequence != sequence:
        raise _IrregularSegment
    return None if head.type == _HEARTBEAT else minute_of(head.received)


def _end(segment: Segment, following: Segment | None, closed: Mapping[int, int]) -> int | None:
    """Return the sequence number after a segment's last record, or None if it can still grow."""
    if following is not None and following.epoch == segment.epoch:
        return following.base
    return closed.get(segment.epoch)
