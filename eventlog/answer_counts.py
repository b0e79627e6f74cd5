"""Count a worker's answers independently of its log, so that the two can be compared.

A source's file `answered` has one slot for each minute with traffic and each epoch. A slot contains
the minute since 1970, the epoch and the count. The worker maps the file into memory, so counting
needs no system call and survives a kill. The worker appends events, counts them and then replies.
If it is killed before it counts, the log has more events than the file, but no client received
these answers.
"""

import contextlib
import mmap
import os
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from eventlog.durable_files import open_private
from eventlog.events import Event, HeartbeatEvent
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings

MINUTE = 60_000_000  # microseconds
LATEST = 253_402_300_799_000_000  # end of the year 9999, in microseconds since the Unix epoch
ANSWERED = "answered"
_SLOT = struct.Struct("<qqq")
_GROWTH = 170 * _SLOT.size
_OPEN_SLOTS = 8  # number of latest minutes whose slots can still be incremented


class AnswerCounts:
    """Store the answer counts of one source; for the source's writer only."""

    def __init__(self, folder: Path, epoch: int) -> None:
        """Map the file and append after its last slot; `epoch` is the writer's epoch."""
        self._epoch = epoch
        self._file = open_private(folder / ANSWERED)
        self._end = len(_slots(os.read(self._file, os.fstat(self._file).st_size))) * _SLOT.size
        self._map: mmap.mmap | None = None
        self._counts: dict[int, tuple[int, int]] = {}  # minute -> offset of its slot, count

    def add(self, events: Sequence[Event]) -> None:
        """Count events that are already appended to the log."""
        received: dict[int, int] = {}  # minute of reception -> number of events
        for event in events:
            if isinstance(event, HeartbeatEvent):
                continue
            minute = event.received // MINUTE
            received[minute] = received.get(minute, 0) + 1
        for unclamped, number in received.items():
            minute = minute_of(unclamped * MINUTE)
            offset, count = self._counts.get(minute) or self._open()
            self._counts[minute] = offset, count + number
            if self._map is not None:
                _SLOT.pack_into(self._map, offset, minute, self._epoch, count + number)

    def close(self) -> None:
        """Unmap and close the file."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.close(self._file)

    def _open(self) -> tuple[int, int]:
        if len(self._counts) >= _OPEN_SLOTS:
            del self._counts[min(self._counts)]
        offset, self._end = self._end, self._end + _SLOT.size
        if self._map is None or self._end > len(self._map):
            self._grow()
        return offset, 0

    def _grow(self) -> None:
        # Allocate blocks first, because on a full disk a write to an unallocated page would kill
        # the worker.
        size = -(-self._end // _GROWTH) * _GROWTH
        if self._map is not None:
            self._map.close()
            self._map = None
        with contextlib.suppress(OSError):
            os.posix_fallocate(self._file, 0, size)
            self._map = mmap.mmap(self._file, size)


class CountingWriter(SegmentWriter):
    """Append events to segments and count the answers."""

    def __init__(
        self,
        folder: Path,
        lock: int,
        settings: LogSettings,
        dropped: Callable[[int], None],
        clock: Callable[[], int],
    ) -> None:
        super().__init__(folder, lock, settings, dropped, clock)
        self._answers = AnswerCounts(folder, self.epoch)

    def append(self, events: Sequence[Event]) -> None:
        """Append the events, then count them."""
        super().append(events)
        self._answers.add(events)

    def close(self) -> None:
        """Release the source and close the counts file."""
        if self._file >= 0:
            self._answers.close()
        super().close()


def minute_of(received: int) -> int:
    """Return the minute of a reception time in microseconds, clamped to a valid range."""
    return min(max(received, 0), LATEST) // MINUTE


def read_answer_counts(folder: Path) -> Counter[int]:
    """Return the number of a source's answers by minute; empty if it has no counts file."""
    path = folder / ANSWERED
    counts: Counter[int] = Counter()
    for minute, _, count in _slots(path.read_bytes() if path.exists() else b""):
        counts[minute] += count
    return counts


def first_answered_epoch(folder: Path) -> int:
    """Return the first epoch in which a source answered, or 1 if it has no counts."""
    path = folder / ANSWERED
    slots = _slots(path.read_bytes() if path.exists() else b"")
    return min((epoch for _, epoch, _ in slots), default=1)


def _slots(data: bytes) -> list[tuple[int, int, int]]:
    whole = data[: len(data) // _SLOT.size * _SLOT.size]
    slots = [(minute, epoch, count) for minute, epoch, count in _SLOT.iter_unpack(whole)]
    while slots and not slots[-1][2]:
        slots.pop()
    return slots
