"""The local event log: one folder per source, one file per segment, appended by one writer.

    <log>/<source>/lock                           held by the source's one writer
    <log>/<source>/<epoch>-<first sequence>.log   frames, see frames.py

A segment is final once the source has a later one. A writer that takes over a source first cuts
the torn tail that a killed predecessor may have left (nothing in it was ever answered).
"""

import contextlib
import fcntl
import os
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from heapq import merge
from itertools import count, islice
from pathlib import Path

import msgspec

from eventlog import frames, wire
from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event
from eventlog.log import Position, Positions, Record

SEGMENT_BYTES = 64 << 20
_CHUNK = 1 << 20
_NAME = re.compile(r"(\d{8})-(\d{12})\.log")


class Segment(msgspec.Struct, frozen=True, order=True):
    """One file of a source, ordered as written."""

    epoch: int
    base: int  # sequence of its first record
    path: Path


def segments(folder: Path) -> list[Segment]:
    """The segments of one source, oldest first."""
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted(Segment(int(m[1]), int(m[2]), path) for m, path in matches if m)


class SegmentWriter:
    """The one writer of a source; an `eventlog.log.Appender`."""

    def __init__(self, folder: Path, lock: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Take over `folder`, whose lock the file descriptor `lock` holds."""
        self.source = folder.name
        self._folder = folder
        self._lock = lock
        self._segment_bytes = segment_bytes
        existing = segments(folder)
        if existing:
            _cut_torn_tail(existing[-1].path)
        self.epoch = existing[-1].epoch + 1 if existing else 1
        self.next_sequence = 0
        self._file = self._new_segment()
        self._size = 0

    @classmethod
    def claim(cls, folder: Path, host: str, segment_bytes: int = SEGMENT_BYTES) -> "SegmentWriter":
        """Become the writer of the first of `<host>-0`, `<host>-1`, ... that nobody writes."""
        host = re.sub(r"[^A-Za-z0-9.]+", "-", host)
        for slot in count():
            source = folder / f"{host}-{slot}"
            source.mkdir(parents=True, exist_ok=True)
            lock = os.open(source / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return cls(source, lock, segment_bytes)
        raise AssertionError("count() never ends")

    def append(self, events: Sequence[Event]) -> None:
        """Keep all events, readable even if this process dies now, or raise LogUnavailable."""
        if not events:
            return
        self._check_stamps(events)
        frame = frames.encode(
            [wire.encode(event) for event in events],
            epoch=self.epoch,
            base=self.next_sequence,
            milliseconds=time.time_ns() // 1_000_000,
        )
        self._write(frame)
        self.next_sequence += len(events)
        if self._size >= self._segment_bytes:
            self._roll()

    def close(self) -> None:
        """Release the source; further appends raise LogUnavailable."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _check_stamps(self, events: Sequence[Event]) -> None:
        for sequence, event in enumerate(events, self.next_sequence):
            if (event.source, event.epoch, event.sequence) != (self.source, self.epoch, sequence):
                raise ValueError(
                    f"event {event.event_id} appended where "
                    f"{self.source}:{self.epoch}:{sequence} was expected"
                )

    def _write(self, frame: bytes) -> None:
        try:
            written = os.write(self._file, frame)
        except OSError as error:
            raise LogUnavailable(f"event log {self._folder}: {error.strerror}") from error
        if written != len(frame):
            os.ftruncate(self._file, self._size)
            raise LogUnavailable(f"event log {self._folder}: the disk is full")
        self._size += written

    def _roll(self) -> None:
        # A segment that cannot be followed by a new one just grows on: no event is refused for it.
        with contextlib.suppress(OSError):
            fresh = self._new_segment()
            os.close(self._file)
            self._file, self._size = fresh, 0

    def _new_segment(self) -> int:
        path = self._folder / f"{self.epoch:08d}-{self.next_sequence:012d}.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o600)


def _cut_torn_tail(path: Path) -> None:
    data = path.read_bytes()
    intact = 0
    for piece in frames.split(data, final=False):
        intact = piece.end
    if intact < len(data):
        os.truncate(path, intact)


class SegmentReader:
    """Follows every source below a log folder; an `eventlog.log.Reader`."""

    def __init__(self, folder: Path, positions: Positions) -> None:
        """Begin each source at its position, or at its oldest record where it has none."""
        self._folder = folder
        self._positions = positions
        self._followers: dict[str, _Follower] = {}

    def poll(self, limit: int) -> Sequence[Record]:
        """What is new, at most `limit` records, the first received first; never waits.

        So no source runs ahead of another, however much of each is unread.
        """
        self._discover()
        unread = [follower.peek(limit) for follower in self._followers.values()]
        records = list(islice(merge(*unread, key=_reception), limit))
        for source, taken in Counter(record.source for record in records).items():
            self._followers[source].drop(taken)
        return records

    def close(self) -> None:
        """Release the files."""
        for follower in self._followers.values():
            follower.close()

    def _discover(self) -> None:
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir()):
            if folder.name not in self._followers and folder.is_dir():
                start = self._positions.get(folder.name, Position(0, 0))
                self._followers[folder.name] = _Follower(folder, start)


class _Follower:
    """Reads one source in order, across its segments and epochs."""

    def __init__(self, folder: Path, start: Position) -> None:
        self._folder = folder
        self._expected = start
        self._segment: Segment | None = None
        self._file = -1
        self._unread = b""  # the beginning of a frame whose end is not there yet
        self._ready: deque[Record] = deque()
        self._damaged = 0  # bytes passed over since the last intact frame

    def peek(self, limit: int) -> list[Record]:
        """The next records, at most `limit`; they come again until they are dropped."""
        while len(self._ready) < limit and self._fill():
            pass
        return list(islice(self._ready, limit))

    def drop(self, count: int) -> None:
        for _ in range(count):
            self._ready.popleft()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _fill(self) -> bool:
        """Get more records ready; False when the source has no more for now."""
        before = len(self._ready)
        while len(self._ready) == before:
            if self._segment is not None and self._read_chunk(final=False):
                continue
            following = self._following()
            if following is None:
                return False
            # The writer moved on after we found the end: look once more before leaving the file.
            if self._segment is not None and self._read_chunk(final=False):
                continue
            self._leave(following)
        return True

    def _read_chunk(self, *, final: bool) -> bool:
        """Take in more of the segment; False at its end."""
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
        """The segment to read next, None while there is none."""
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
            if self._damaged and following.epoch > self._segment.epoch:
                self._report_damage(self._expected.sequence + 1)
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

    def _report_damage(self, until: int) -> None:
        """Say of every sequence that the damaged bytes held that it cannot be read."""
        for sequence in range(self._expected.sequence, until):
            error = UnreadableEvent(f"{self._folder.name}: damaged on disk")
            self._push(sequence, error, b"")
        self._damaged = 0

    def _push(self, sequence: int, event: Event | UnreadableEvent, value: bytes) -> None:
        epoch = self._expected.epoch
        self._ready.append(Record(self._folder.name, epoch, sequence, event, value))
        self._expected = Position(epoch, sequence + 1)


def _reception(record: Record) -> tuple[int, int]:
    if isinstance(record.event, UnreadableEvent):
        return 0, record.sequence
    return record.event.received, record.sequence


def _decode(value: bytes, sequence: int) -> Event | UnreadableEvent:
    try:
        event = wire.decode(value)
    except UnreadableEvent as error:
        return error
    if event.sequence != sequence:
        return UnreadableEvent(f"carries sequence {event.sequence}, lies at {sequence}")
    return event
