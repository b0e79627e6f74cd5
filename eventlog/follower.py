"""Read one source of the local log in order, across its segments and epochs.

A position after the log's end means that the log has lost records that were already read: an older
copy was restored, or a power loss removed the last writes. The follower reports this as a gap. It
continues at the end, or at the oldest record if the end is unknown.
"""

import os
from collections import deque
from itertools import islice
from pathlib import Path

from eventlog import frames, wire
from eventlog.errors import UnreadableEvent
from eventlog.events import Event
from eventlog.layout import Segment, ends, segments
from eventlog.log import Gap, Position, Record

_CHUNK = 1 << 20  # bytes per read
_READ_AHEAD = 4 << 20  # bytes per source; the last frame may exceed the limit


class Follower:
    """Read one source from a position; buffer records until `drop` removes them."""

    def __init__(self, folder: Path, start: Position) -> None:
        self._folder = folder
        self._name = folder.name
        self._expected = start
        self._segment: Segment | None = None
        self._file = -1
        self._partial = b""  # beginning of an incomplete frame
        self._ready: deque[Record] = deque()
        self._damaged = 0  # bytes skipped since the last valid frame
        self._ready_bytes = 0  # size of the records in `_ready`
        self._end = 0  # sequence number after the last valid frame of this epoch
        self._gaps: list[Gap] = []

    def peek(self, limit: int) -> list[Record]:
        """Return at most `limit` next records without removing them from the buffer."""
        while len(self._ready) < limit and not self.is_full and self._fill():
            pass
        return list(islice(self._ready, limit))

    def gaps(self) -> list[Gap]:
        """Return the gaps found since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    @property
    def torn(self) -> int:
        """Return the size of the incomplete frame at the end, in bytes."""
        return len(self._partial)

    def drop(self, count: int) -> None:
        """Remove the first `count` records from the buffer."""
        for _ in range(count):
            dropped = self._ready.popleft()
            self._ready_bytes -= len(dropped.value) + len(dropped.raw)

    @property
    def ready(self) -> int:
        """Return the number of records in the buffer."""
        return len(self._ready)

    @property
    def is_full(self) -> bool:
        """Return whether the buffer has reached the read-ahead limit."""
        return self._ready_bytes >= _READ_AHEAD

    def close(self) -> None:
        """Close the open segment."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _fill(self) -> bool:
        """Read more records into the buffer; return False if no further records exist yet."""
        before = len(self._ready)
        while len(self._ready) == before:
            if self._segment is not None and self._read_chunk(final=False):
                continue
            following = self._next_segment()
            if following is None:
                if self._segment is not None and self._expected.sequence > self._end:
                    self._check_position(self._segment.epoch)
                return False
            # The writer may have appended to this segment before it created the next one.
            if self._segment is not None and self._read_chunk(final=False):
                continue
            self._open_segment(following)
        return True

    def _read_chunk(self, *, final: bool) -> bool:
        """Read one chunk of the segment; return False at its end.

        If `final`, the segment is complete, so an incomplete last frame is damaged.
        """
        chunk = os.read(self._file, _CHUNK)
        if not chunk and not (final and self._partial):
            return False
        data = self._partial + chunk
        end = 0
        for piece in frames.split(data, final=final):
            end = piece.end
            if isinstance(piece, frames.Frame):
                self._add_frame(piece)
            else:
                self._damaged += piece.end - piece.start
        self._partial = data[end:]
        return True

    def _next_segment(self) -> Segment | None:
        """Return the segment to read next, or None if it does not exist yet."""
        present = segments(self._folder)
        if self._segment is None:
            if present and present[0].epoch < self._expected.epoch:
                self._check_epoch(present)
            candidates = [segment for segment in present if segment.epoch >= self._expected.epoch]
            start = (self._expected.epoch, self._expected.sequence)
            earlier = [segment for segment in candidates if (segment.epoch, segment.base) <= start]
            return earlier[-1] if earlier else next(iter(candidates), None)
        following = next((segment for segment in present if segment > self._segment), None)
        if following is not None and present[0] < self._segment and self._segment not in present:
            # The folder was replaced by an older copy while it was read.
            after = Position(following.epoch, 0)
            self._gaps.append(Gap(self._name, after, "truncated", 0))
        return following

    def _open_segment(self, following: Segment) -> None:
        """Finish the current segment and open the next one."""
        if self._segment is not None:
            self._read_chunk(final=True)
            if following.epoch > self._segment.epoch:
                self._finish_epoch(self._segment)
        if following.epoch > self._expected.epoch:
            self._expected = Position(following.epoch, 0)
            self._end = 0
        self._end = max(self._end, following.base)
        self.close()
        self._file = os.open(following.path, os.O_RDONLY | os.O_CLOEXEC)
        self._segment = following

    def _add_frame(self, frame: frames.Frame) -> None:
        """Buffer the records of a frame; first report damage before it."""
        if self._damaged:
            self._report_damage(frame.base)
        raws, expected = frame.raws, self._expected.sequence
        for index, value in enumerate(frame.values):
            sequence = frame.base + index
            if sequence >= expected:
                raw = raws.get(index, b"") if raws else b""
                self._push(sequence, _decode(value, sequence, raw), value, raw)
        self._end = max(self._end, frame.base + len(frame.values))

    def _check_epoch(self, present: list[Segment]) -> None:
        """Report a gap if the position's epoch is missing although older epochs exist.

        Retention cannot cause this, because it deletes the oldest segments first.
        """
        epochs = {segment.epoch for segment in present}
        if self._expected.epoch in epochs:
            return
        later = sorted(epoch for epoch in epochs if epoch > self._expected.epoch)
        oldest = Position(present[0].epoch, present[0].base)
        self._expected = Position(later[0], 0) if later else oldest
        self._gaps.append(Gap(self._name, self._expected, "truncated", 0))

    def _check_position(self, epoch: int) -> None:
        """Report a gap if an epoch ends before the position.

        If the epoch has no end mark, damaged or incomplete frames can still contain the position.
        """
        marked = ends(self._folder).get(epoch)
        if marked is None and (self._damaged or self._partial):
            return
        end = self._end if marked is None else marked
        beyond = self._expected.sequence - end
        if beyond > 0:
            self._expected = Position(epoch, end)
            self._gaps.append(Gap(self._name, self._expected, "truncated", beyond))

    def _finish_epoch(self, last: Segment) -> None:
        """Report records that are missing at an epoch's end, where no later frame reveals them."""
        self._check_position(last.epoch)
        end = ends(self._folder).get(last.epoch, 0)
        if self._damaged:
            end = max(end, self._expected.sequence + 1)
        self._report_damage(end, first=max(self._expected.sequence, last.base))

    def _report_damage(self, until: int, first: int | None = None) -> None:
        """Buffer an unreadable record for every missing sequence number before `until`."""
        reason = "damaged on disk" if self._damaged else "missing at the end of its epoch"
        for sequence in range(self._expected.sequence if first is None else first, until):
            error = UnreadableEvent(f"{self._name}: {reason}")
            self._push(sequence, error, b"")
        self._damaged = 0

    def _push(
        self, sequence: int, event: Event | UnreadableEvent, value: bytes, raw: bytes = b""
    ) -> None:
        epoch = self._expected.epoch
        self._ready_bytes += len(value) + len(raw)
        self._ready.append(Record(self._name, epoch, sequence, event, value, raw=raw))
        self._expected = Position(epoch, sequence + 1)


def _decode(value: bytes, sequence: int, raw: bytes) -> Event | UnreadableEvent:
    try:
        event = wire.decode(value, raw)
    except UnreadableEvent as error:
        return error
    if event.sequence != sequence:
        return UnreadableEvent(f"sequence number {event.sequence}; expected {sequence}")
    return event
