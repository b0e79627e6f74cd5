"""Delete segments beyond retention, oldest first.

A segment is retained until every required reader has read it completely. The last segment of a
source is always retained, because its name contains the epoch.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from eventlog.errors import EventLogError, SettingError
from eventlog.event_times import times_path
from eventlog.layout import Segment, ends, segments
from eventlog.log import Position, Positions
from eventlog.settings import Home, LogSettings


class SegmentStatus(msgspec.Struct, frozen=True):
    """The properties of a segment that decide whether it is deleted."""

    segment: Segment
    following: Position | None  # start of the source's next segment; None for the last segment
    size: int
    written: float  # time of the last append, in seconds since the Unix epoch


def deletable(
    statuses: Sequence[SegmentStatus],
    readers: Sequence[Positions],
    settings: LogSettings,
    now: float,
) -> list[SegmentStatus]:
    """Return the segments to delete, oldest first; an empty list if there is no reader.

    `readers` are the positions of all readers that must read a segment before it is deleted.
    """
    total = sum(status.size for status in statuses)
    chosen = []
    for status in sorted(statuses, key=lambda status: (status.written, status.segment)):
        old = 0 < settings.retain_seconds <= now - status.written
        surplus = 0 < settings.retain_bytes < total
        if (old or surplus) and readers and all(_has_read(at, status) for at in readers):
            chosen.append(status)
            total -= status.size
    return chosen


def sweep(home: Home, settings: LogSettings, now: float) -> list[Path]:
    """Delete segments beyond retention in a home's log; return the deleted files.

    Raises EventLogError, and deletes nothing, if a reader's positions cannot be read.
    """
    if (not settings.retain_bytes and not settings.retain_seconds) or not home.log.is_dir():
        return []
    sources = [folder for folder in home.log.iterdir() if folder.is_dir()]
    statuses = [status for folder in sources for status in _statuses(folder)]
    chosen = deletable(statuses, _readers(home, settings), settings, now)
    for status in chosen:
        status.segment.path.unlink(missing_ok=True)
        times_path(status.segment.path).unlink(missing_ok=True)
    for folder in {status.segment.path.parent for status in chosen}:
        _delete_ends(folder)
    return [status.segment.path for status in chosen]


def read_positions(path: Path) -> dict[str, Position]:
    """Read a reader's positions from a file; raises EventLogError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Position])
    except (OSError, msgspec.DecodeError) as error:
        raise EventLogError(f"{path}: expected positions by source: {error}") from None


def write_positions(path: Path, positions: Mapping[str, Position]) -> None:
    """Replace the positions in a file atomically and durably."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(positions))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _readers(home: Home, settings: LogSettings) -> list[Positions]:
    files = {"monitor": home.consumed, "forwarder": home.cursors}
    names = [name.strip() for name in settings.retain_for.split(",") if name.strip()]
    for name in names:
        if name not in files:
            raise SettingError(f"DRIFTLINE_LOG_RETAIN_FOR: {name!r}; expected {', '.join(files)}")
    if not names:
        return [read_positions(path) for path in files.values() if path.exists()]
    # A configured reader without a file has read nothing.
    return [read_positions(files[n]) if files[n].exists() else {} for n in names]


def _has_read(positions: Positions, status: SegmentStatus) -> bool:
    at = positions.get(status.segment.path.parent.name)
    return at is not None and status.following is not None and at >= status.following


def _statuses(folder: Path) -> list[SegmentStatus]:
    present = segments(folder)
    starts = [Position(segment.epoch, segment.base) for segment in present[1:]]
    statuses = []
    for segment, following in zip(present, [*starts, None], strict=True):
        with contextlib.suppress(FileNotFoundError):  # another worker's sweep deleted it
            status = segment.path.stat()
            statuses.append(SegmentStatus(segment, following, status.st_size, status.st_mtime))
    return statuses


def _delete_ends(folder: Path) -> None:
    present = segments(folder)
    for epoch, sequence in ends(folder).items():
        if present and epoch < present[0].epoch:
            (folder / f"{epoch:08d}-{sequence:012d}.end").unlink(missing_ok=True)
