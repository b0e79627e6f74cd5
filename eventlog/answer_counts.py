"""The service's own count of its answers, separate from the log that it is compared with.

A source's file `answered` holds one slot for every minute and epoch in which something was
received: minute since the Unix epoch, epoch, count. The worker maps the file into its memory:
counting costs no system call and survives a kill at any moment. It counts after the append and
before the replies leave. A worker killed in between has logged more than it counted; no client got
those answers.
"""

import contextlib
import mmap
import os
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from eventlog.events import Event
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings

MINUTE = 60_000_000  # microseconds
LATEST = 253_402_300_799_000_000  # the end of the year 9999, in microseconds
_FILE = "answered"
_SLOT = struct.Struct("<qqq")
_GROWTH = 170 * _SLOT.size
_REMEMBERED = 8  # minutes that may still be counted in their slot


class AnswerCounts:
    """The counts of one source; its only writer updates them."""

    def __init__(self, folder: Path, epoch: int) -> None:
        """Continue after the last slot; `epoch` is this writer's."""
        self._epoch = epoch
        self._file = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = len(_slots(os.read(self._file, os.fstat(self._file).st_size))) * _SLOT.size
        self._map: mmap.mmap | None = None
        self._counts: dict[int, tuple[int, int]] = {}  # minute -> offset of its slot, count

    def add(self, events: Sequence[Event]) -> None:
        """Count events that the log now holds."""
        for event in events:
            minute = minute_of(event.received)
            offset, count = self._counts.get(minute) or self._open()
            self._counts[minute] = offset, count + 1
            if self._map is not None:
                _SLOT.pack_into(self._map, offset, minute, self._epoch, count + 1)

    def close(self) -> None:
        """Release the file."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.close(self._file)

    def _open(self) -> tuple[int, int]:
        if len(self._counts) >= _REMEMBERED:
            del self._counts[min(self._counts)]
        offset, self._end = self._end, self._end + _SLOT.size
        if self._map is None or self._end > len(self._map):
            self._grow()
        return offset, 0

    def _grow(self) -> None:
        # A mapped page without a block behind it would kill the worker when the disk is full.
        size = -(-self._end // _GROWTH) * _GROWTH
        if self._map is not None:
            self._map.close()
            self._map = None
        with contextlib.suppress(OSError):
            os.posix_fallocate(self._file, 0, size)
            self._map = mmap.mmap(self._file, size)


class CountingWriter(SegmentWriter):
    """A segment writer that also counts the answers."""

    def __init__(
        self,
        folder: Path,
        lock: int,
        settings: LogSettings,
        dropped: Callable[[int], None],
    ) -> None:
        super().__init__(folder, lock, settings, dropped)
        self._answers = AnswerCounts(folder, self.epoch)

    def append(self, events: Sequence[Event]) -> None:
        """Append, then count."""
        super().append(events)
        self._answers.add(events)

    def close(self) -> None:
        """Release the source and the counts."""
        if self._file >= 0:
            self._answers.close()
        super().close()


def minute_of(received: int) -> int:
    """Return the minute in which an event is counted, whatever its clock was set to."""
    return min(max(received, 0), LATEST) // MINUTE


def read_answer_counts(folder: Path) -> Counter[int]:
    """Return a source's answers by minute of reception; empty if there are no counts."""
    path = folder / _FILE
    counts: Counter[int] = Counter()
    for minute, _, count in _slots(path.read_bytes() if path.exists() else b""):
        counts[minute] += count
    return counts


def _slots(data: bytes) -> list[tuple[int, int, int]]:
    whole = data[: len(data) // _SLOT.size * _SLOT.size]
    slots = [(minute, epoch, count) for minute, epoch, count in _SLOT.iter_unpack(whole)]
    while slots and not slots[-1][2]:
        slots.pop()
    return slots
