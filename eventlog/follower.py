"""Reads one source of the local log in order, across its segments and epochs."""

import os
from collections import deque
from itertools import islice
from pathlib import Path

from eventlog import frames, wire
from eventlog.errors import UnreadableEvent
from eventlog.events import Event
from eventlog.layout import Segment, ends, segments
from eventlog.log import Position, Record

_CHUNK = 1 << 20
_HELD_BYTES = 4 << 20  # read ahead per source, give or take a frame


class Follower:
    """One source, read from a position on; records stay until `drop`."""

    def __init__(self, folder: Path, start: Position) -> None:
        self._folder = folder
        self._expected = start
        self._segment: Segment | None = None
        self._file = -1
        self._unread = b""  # the beginning of a frame whose end is not there yet
        self._ready: deque[Record] = deque()
        self._damaged = 0  # bytes passed over since the last intact frame
        self._held = 0  # bytes of the records that are ready

    def peek(self, limit: int) -> list[Record]:
        """Return the next records, at most `limit`; the same again until `drop`."""
        while len(self._ready) < limit and not self.laden and self._fill():
            pass
        return list(islice(self._ready, limit))

    @property
    def torn(self) -> int:
        """Bytes that were read but do not form a whole frame yet."""
        return len(self._unread)

    def drop(self, count: int) -> None:
        for _ in range(count):
            self._held -= len(self._ready.popleft().value)

    @property
    def ready(self) -> int:
        """Number of records that are ready."""
        return len(self._ready)

    @property
    def laden(self) -> bool:
        """Whether the read-ahead limit is reached; bounds memory with large events."""
        return self._held >= _HELD_BYTES

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _fill(self) -> bool:
        """Read more records; return False when the source has no more for now."""
        before = len(self._ready)
        while len(self._ready) == before:
            if self._segment is not None and self._read_chunk(final=False):
                continue
            following = self._following()
            if following is None:
                return False
            # The writer may have appended between the two checks: read once more.
            if self._segment is not None and self._read_chunk(final=False):
                continue
            self._leave(following)
        return True

    def _read_chunk(self, *, final: bool) -> bool:
        """Read more of the segment; return False at its end."""
        chunk = os.read(self._file, _CHUNK)
        if not chunk and not (final and self._unread):
            return False
        data = self._unread + chunk
        end = 0
        for piece in frames.split(data, final=final):
            end = piece.end
            if isinstance(piece, frames.Frame):
                self._deliver(piece)
            else:
                self._damaged += piece.end - piece.start
        self._unread = data[end:]
        return True

    def _following(self) -> Segment | None:
        """Return the segment to read next, None while there is none."""
        known = segments(self._folder)
        if self._segment is None:
            unread = [segment for segment in known if segment.epoch >= self._expected.epoch]
            at = (self._expected.epoch, self._expected.sequence)
            begun = [segment for segment in unread if (segment.epoch, segment.base) <= at]
            return begun[-1] if begun else next(iter(unread), None)
        return next((segment for segment in known if segment > self._segment), None)

    def _leave(self, following: Segment) -> None:
        if self._segment is not None:
            self._read_chunk(final=True)
            if following.epoch > self._segment.epoch:
                self._finish_epoch(self._segment)
        if following.epoch > self._expected.epoch:
            self._expected = Position(following.epoch, 0)
        self.close()
        self._file = os.open(following.path, os.O_RDONLY | os.O_CLOEXEC)
        self._segment = following

    def _deliver(self, frame: frames.Frame) -> None:
        if self._damaged:
            self._report_damage(frame.base)
        for sequence, value in enumerate(frame.values, frame.base):
            if sequence >= self._expected.sequence:
                self._push(sequence, _decode(value, sequence), value)

    def _finish_epoch(self, last: Segment) -> None:
        """Report what is missing at the end of an epoch, where no later frame shows the gap."""
        end = ends(self._folder).get(last.epoch, 0)
        if self._damaged:
            end = max(end, self._expected.sequence + 1)
        self._report_damage(end, first=max(self._expected.sequence, last.base))

    def _report_damage(self, until: int, first: int | None = None) -> None:
        """Report every sequence in the damaged bytes as unreadable."""
        reason = "damaged on disk" if self._damaged else "missing at the end of its epoch"
        for sequence in range(self._expected.sequence if first is None else first, until):
            error = UnreadableEvent(f"{self._folder.name}: {reason}")
            self._push(sequence, error, b"")
        self._damaged = 0

    def _push(self, sequence: int, event: Event | UnreadableEvent, value: bytes) -> None:
        epoch = self._expected.epoch
        self._held += len(value)
        self._ready.append(Record(self._folder.name, epoch, sequence, event, value))
        self._expected = Position(epoch, sequence + 1)


def _decode(value: bytes, sequence: int) -> Event | UnreadableEvent:
    try:
        event = wire.decode(value)
    except UnreadableEvent as error:
        return error
    if event.sequence != sequence:
        return UnreadableEvent(f"carries sequence {event.sequence}, expected {sequence}")
    return event
