"""Write and read the local event log: one folder and one writer per source, one file per segment.

    <log>/identity                                see identity.py
    <log>/<source>/lock                           locked by the source's writer
    <log>/<source>/reserve                        reserved space, see disk_reserve.py
    <log>/<source>/<epoch>-<first sequence>.log   frames, see frames.py
    <log>/<source>/<epoch>-<first sequence>.times see event_times.py
    <log>/<source>/<epoch>-<sequence>.end         empty; its name states an epoch's end

An epoch is the time of the writer's start in microseconds, and is greater than the previous epoch.
So no epoch and sequence number occur twice, even if an older copy of the folder is restored.

A segment is complete once the source has a later segment. A new writer of a source first truncates
an incomplete frame of a killed writer, whose events were never answered. It then marks the end of
that writer's epoch with the first unused sequence number. Damage to the epoch's last frames can
therefore be counted exactly.
"""

import contextlib
import errno
import os
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from copy import copy
from itertools import count
from pathlib import Path
from typing import Self

from eventlog import frames, wire
from eventlog.disk_reserve import DiskReserve
from eventlog.durable_files import make_folder, sync_folder
from eventlog.errors import LogUnavailable
from eventlog.event_times import EventTimes
from eventlog.events import Event, FeedbackEvent, PredictionEvent
from eventlog.follower import Follower
from eventlog.group_commit import GroupCommit, OnSynced
from eventlog.layout import Segment, ends, segments
from eventlog.log import Gap, Position, Positions, Record, ShardCounts
from eventlog.merge import StreamOrder, merged
from eventlog.process_lock import try_lock
from eventlog.settings import LogSettings
from telemetry.clock import now_us

_DEFAULTS = LogSettings()
_START = Position(0, 0)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SegmentWriter:
    """Append events to one source; implements `Appender`. Use from one event loop."""

    def __init__(
        self,
        folder: Path,
        lock: int,
        settings: LogSettings = _DEFAULTS,
        dropped: Callable[[int], None] = lambda _: None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """Continue the source in `folder`, whose lock file is open as the descriptor `lock`.

        `dropped` is called with the number of events that are dropped because the disk is full.
        `clock` returns microseconds since the Unix epoch.
        """
        self.source = folder.name
        self._folder = folder
        self._lock = lock
        self._settings = settings
        self._dropped = dropped
        existing = segments(folder)
        if existing:
            _finish(folder, existing[-1])
        # A restored copy of the folder can lack epochs that readers know, but time never repeats.
        self.epoch = max(existing[-1].epoch + 1 if existing else 1, clock())
        self.next_sequence = 0
        self._shards: dict[str, ShardCounts] = {}
        self._closed: deque[int] = deque()  # complete segments that are not flushed yet
        self._detached = False
        self._file, self._size, self._begun = self._new_segment(), 0, time.monotonic()
        self._times = EventTimes()
        rejects = settings.when_full == "reject"
        self._reserve = DiskReserve(folder / "reserve", settings.reserve_bytes if rejects else 0)
        self._commit = GroupCommit(self._sync) if settings.durability == "disk" else None

    @classmethod
    def claim(
        cls,
        folder: Path,
        host: str,
        settings: LogSettings = _DEFAULTS,
        dropped: Callable[[int], None] = lambda _: None,
        clock: Callable[[], int] = now_us,
    ) -> Self:
        """Continue the first source of `<host>-0`, `<host>-1`, ... that has no writer."""
        for slot in count():
            source = folder / f"{_folder_name(host)}-{slot}"
            make_folder(source)
            lock = try_lock(source / "lock")
            if lock is not None:
                return cls(source, lock, settings, dropped, clock)
        raise AssertionError("count() never ends")

    def next_number(self, shard: str) -> int:
        """Return the number that the next event of a shard must have."""
        return self.counts(shard).number

    def shards(self) -> Collection[str]:
        """Return the shards with events in this epoch."""
        return self._shards.keys()

    def counts(self, shard: str) -> ShardCounts:
        """Return the counts of a shard."""
        return self._shards.get(shard) or ShardCounts()

    @property
    def full(self) -> bool:
        """Return whether new requests must be refused, because the disk is full."""
        return not self._reserve.is_allocated()

    def append(self, events: Sequence[Event]) -> None:
        """Store all events so that they survive a kill, or raise LogUnavailable."""
        if not events:
            return
        if self._detached:
            raise LogUnavailable(f"event log {self._folder}: it was removed or replaced")
        counts = self._check_stamps(events)
        encoded = [wire.encode_record(event) for event in events]
        frame = frames.encode(
            [value for value, _ in encoded],
            {index: raw for index, (_, raw) in enumerate(encoded) if raw},
            epoch=self.epoch,
            base=self.next_sequence,
            milliseconds=time.time_ns() // 1_000_000,
        )
        try:
            self._write(frame)
        except OSError as error:
            self._write_on_full_disk(frame, error, len(events))
        self.next_sequence += len(events)
        self._times.include(events)
        self._shards.update(counts)
        age = time.monotonic() - self._begun
        if self._size >= self._settings.segment_bytes or age >= self._settings.segment_seconds:
            self._roll()

    def detached(self) -> bool:
        """Return whether readers can no longer find the current segment.

        This happens if the folder or a parent was removed or replaced. Further appends raise
        LogUnavailable.
        """
        if self._file >= 0 and not self._detached:
            try:
                self._detached = not os.path.samestat(self._path.stat(), os.fstat(self._file))
            except (FileNotFoundError, NotADirectoryError):
                self._detached = True
        return self._detached

    @property
    def waits_for_disk(self) -> bool:
        """Return whether `once_safe` calls back later instead of immediately."""
        return self._commit is not None

    def once_safe(self, on_safe: OnSynced) -> None:
        """Call `on_safe` once all appended events are as durable as `durability` requires."""
        if self._commit is None:
            on_safe(None)
        else:
            self._commit.notify(on_safe)

    def close(self) -> None:
        """Release the source; further appends raise LogUnavailable."""
        if self._file < 0:
            return
        if self._commit is not None:
            self._commit.close()
            with contextlib.suppress(FileNotFoundError):  # the folder was removed
                self._sync()
        self._reserve.release()
        # Without the end mark, damage to the last frames counts as one event.
        with contextlib.suppress(OSError):
            _mark_end(self._folder, self.epoch, self.next_sequence)
        self._times.write(self._path)
        for descriptor in (*self._closed, self._file, self._lock):
            os.close(descriptor)
        self._file = self._lock = -1

    def _check_stamps(self, events: Sequence[Event]) -> dict[str, ShardCounts]:
        """Return the new counts of each shard of `events`; raises ValueError for wrong numbers."""
        counts: dict[str, ShardCounts] = {}
        for sequence, event in enumerate(events, self.next_sequence):
            if (event.source, event.epoch, event.sequence) != (self.source, self.epoch, sequence):
                raise ValueError(
                    f"event {event.event_id} cannot be appended; expected "
                    f"{self.source}:{self.epoch}:{sequence}"
                )
            if not event.shard:
                continue
            of_shard = counts.get(event.shard)
            if of_shard is None:
                of_shard = counts[event.shard] = copy(self.counts(event.shard))
            _count(event, of_shard)
        return counts

    def _write(self, frame: bytes) -> None:
        """Write the whole frame, or raise OSError and write nothing."""
        written = os.write(self._file, frame)
        if written != len(frame):
            os.ftruncate(self._file, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def _write_on_full_disk(self, frame: bytes, error: OSError, number: int) -> None:
        """Write into the reserved space; if it is used up, reject or drop, see `when_full`."""
        if error.errno in _FULL:
            if self._settings.when_full == "drop":
                self._dropped(number)
                return
            if self._reserve.release():
                with contextlib.suppress(OSError):
                    self._write(frame)
                    return
        raise LogUnavailable(f"event log {self._folder}: {error.strerror}") from error

    def _roll(self) -> None:
        # If no new segment can be created, continue with the old segment, so that no event is lost.
        with contextlib.suppress(OSError):
            complete = self._path
            fresh = self._new_segment()
            self._times.write(complete)
            self._times = EventTimes()
            if self._commit is None:
                os.close(self._file)
            else:
                self._closed.append(self._file)
            self._file, self._size, self._begun = fresh, 0, time.monotonic()

    def _new_segment(self) -> int:
        path = self._folder / f"{self.epoch:08d}-{self.next_sequence:012d}.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        self._path = path
        return file

    def _sync(self) -> None:
        """Flush to disk. Runs in the group commit's thread, which also closes old segments."""
        os.fsync(self._file)
        while self._closed:
            os.fsync(self._closed[0])
            os.close(self._closed.popleft())
        sync_folder(self._folder)


def _count(event: Event, counts: ShardCounts) -> None:
    """Add the next event of a shard to its counts; raises ValueError if its number is wrong."""
    if event.number != counts.number:
        raise ValueError(
            f"event {event.event_id} has number {event.number} of shard {event.shard}; "
            f"expected {counts.number}"
        )
    counts.number += 1
    if isinstance(event, PredictionEvent):
        counts.predictions += 1
    elif isinstance(event, FeedbackEvent):
        counts.labels += 1


def end_earlier_sources(log: Path, host: str) -> None:
    """Finish this host's sources of early releases, whose names contain no log identity.

    No writer continues such a source. Sources whose writer still runs are skipped.
    """
    for folder in log.glob(f"{_folder_name(host)}-*"):
        if not re.fullmatch(r"[0-9]+", folder.name.removeprefix(f"{_folder_name(host)}-")):
            continue
        lock = try_lock(folder / "lock")
        if lock is None:
            continue
        present = segments(folder)
        if present and present[-1].epoch not in ends(folder):
            _finish(folder, present[-1])
        (folder / "reserve").unlink(missing_ok=True)
        os.close(lock)


def _folder_name(host: str) -> str:
    """Return a host name in which characters that folder names cannot have are replaced."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", host)


def _finish(folder: Path, last: Segment) -> None:
    """Truncate an incomplete frame of a source's last segment, and mark the epoch's end."""
    data = last.path.read_bytes()
    intact, sequence = 0, last.base
    for piece in frames.split(data, final=False):
        intact = piece.end
        if isinstance(piece, frames.Frame):
            sequence = piece.base + len(piece.values)
    if intact < len(data):
        os.truncate(last.path, intact)
    if last.epoch not in ends(folder):
        _mark_end(folder, last.epoch, sequence)


def _mark_end(folder: Path, epoch: int, sequence: int) -> None:
    (folder / f"{epoch:08d}-{sequence:012d}.end").touch(0o600)


class SegmentReader:
    """Read every source of a log folder; implements `Reader`."""

    patience = 0.0  # the records of a source are always in order

    def __init__(self, folder: Path, positions: Positions) -> None:
        """Start each source at its position or, without position, at its oldest record."""
        self._folder = folder
        self._positions = positions
        self._followers: dict[str, Follower] = {}
        self._orders: defaultdict[str, StreamOrder] = defaultdict(StreamOrder)
        self._removed: list[Gap] = []
        # Ignore positions in partitions, whose names contain a slash.
        self._sources = {name for name, at in positions.items() if at > _START and "/" not in name}
        self.drained = False

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` new records of all sources, ordered by reception; never blocks."""
        self._discover()
        peeked = {name: follower.peek(limit) for name, follower in self._followers.items()}
        unread = {name: records for name, records in peeked.items() if records}
        # If a follower's buffer is full, its source may have earlier records than other sources.
        # Return at most as many records as this buffer has.
        most = min(
            [limit, *(follower.ready for follower in self._followers.values() if follower.is_full)]
        )
        records = merged(unread, self._orders, most)
        for source, number in Counter(record.source for record in records).items():
            self._followers[source].drop(number)
        self.drained = len(records) < most
        return records

    def gaps(self) -> Sequence[Gap]:
        """Return truncated and removed sources; damage is returned as unreadable records."""
        gaps, self._removed = self._removed, []
        return [*gaps, *(gap for follower in self._followers.values() for gap in follower.gaps())]

    def close(self) -> None:
        """Release the files."""
        for follower in self._followers.values():
            follower.close()

    def torn(self) -> dict[str, int]:
        """Return the size of each source's incomplete last frame in bytes, as of the last poll."""
        return {name: follower.torn for name, follower in self._followers.items() if follower.torn}

    def _discover(self) -> None:
        """Add new sources, and drop sources whose folder was removed."""
        present = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        for source in self._sources.difference(folder.name for folder in present):
            self._sources.remove(source)
            self._removed.append(Gap(source, _START, "removed", 0))
            if source in self._followers:
                self._followers.pop(source).close()
        for folder in present:
            if folder.name not in self._followers and folder.is_dir():
                start = self._positions.get(folder.name, _START)
                self._followers[folder.name] = Follower(folder, start)
                self._sources.add(folder.name)
