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
    """Describe one segment file; segments sort in the order of writing."""

    epoch: int
    base: int  # sequence of its first record
    path: Path


def segments(folder: Path) -> list[Segment]:
    """Return the segments of one source, oldest first."""
    matches = (_NAME.fullmatch(name) for name in _names(folder))
    return sorted(Segment(int(m[1]), int(m[2]), folder / m[0]) for m in matches if m)


def sources(log: Path) -> list[Path]:
    """Return the folders of a log's sources, sorted by name."""
    return sorted(path.parent for path in log.glob("*/lock"))


def first_positions(log: Path, is_wanted: Callable[[Segment], bool]) -> dict[str, Position]:
    """Return where the first wanted segment of each source begins; without one, the last one."""
    positions = {}
    for folder in sources(log):
        present = segments(folder)
        if present:
            first = next(filter(is_wanted, present), present[-1])
            positions[folder.name] = Position(first.epoch, first.base)
    return positions


def positions_at(log: Path, time: float) -> dict[str, Position]:
    """Return a position in each source; every record that was written since `time` lies after it.

    `time` is in seconds since the epoch. The position may be too early, by a segment at most.
    """

    def is_written_since(segment: Segment) -> bool:
        with suppress(FileNotFoundError):  # deleted by retention
            return segment.path.stat().st_mtime >= time
        return False

    return first_positions(log, is_written_since)


def ends(folder: Path) -> dict[int, int]:
    """Return epoch -> first unused sequence, for each finished epoch whose end is known."""
    matches = (_END.fullmatch(name) for name in _names(folder))
    return {int(m[1]): int(m[2]) for m in matches if m}


def _names(folder: Path) -> list[str]:
    """Return the names in a folder; none if the folder was removed."""
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
