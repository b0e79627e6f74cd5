"""List the files of a source and parse their names."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from eventlog.log import Position

_NAME = re.compile(r"(\d{8,})-(\d{12})\.log")
_END = re.compile(r"(\d{8,})-(\d{12})\.end")


class Segment(msgspec.Struct, frozen=True, order=True):
    """One segment file; segments are ordered by the time of writing."""

    epoch: int
    base: int  # sequence number of the first record
    path: Path


def segments(folder: Path) -> list[Segment]:
    """Return the segments of one source, oldest first."""
    matches = (_NAME.fullmatch(name) for name in _names(folder))
    return sorted(Segment(int(m[1]), int(m[2]), folder / m[0]) for m in matches if m)


def sources(log: Path) -> list[Path]:
    """Return the folders of a log's sources, sorted by name."""
    return sorted(path.parent for path in log.glob("*/lock"))


def first_positions(log: Path, is_wanted: Callable[[Segment], bool]) -> dict[str, Position]:
    """Return the start of each source's first wanted segment; by default, of its last segment."""
    positions = {}
    for folder in sources(log):
        present = segments(folder)
        if present:
            first = next(filter(is_wanted, present), present[-1])
            positions[folder.name] = Position(first.epoch, first.base)
    return positions


def positions_at(log: Path, time: float) -> dict[str, Position]:
    """Return for each source a position before all records that were written since `time`.

    `time` is in seconds since the Unix epoch. The position can be too early by up to one segment.
    """

    def is_written_since(segment: Segment) -> bool:
        with suppress(FileNotFoundError):  # deleted by retention
            return segment.path.stat().st_mtime >= time
        return False

    return first_positions(log, is_written_since)


def ends(folder: Path) -> dict[int, int]:
    """Return epoch -> first unused sequence number, for finished epochs whose end is known."""
    matches = (_END.fullmatch(name) for name in _names(folder))
    return {int(m[1]): int(m[2]) for m in matches if m}


def _names(folder: Path) -> list[str]:
    """Return the names of a folder's files, or no names if the folder was removed."""
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
