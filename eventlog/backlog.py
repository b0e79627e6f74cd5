"""Count the records of the local log that a reader has not read yet.

Sequence numbers have no gaps within an epoch, so a subtraction gives the number of records. Only
new frame headers of the last segment are read, so the cost does not depend on the log's size.
"""

import os
from pathlib import Path

from eventlog import frames
from eventlog.layout import Segment, ends, segments
from eventlog.log import Position, Positions


class Backlog:
    """Count the backlog of one reader; cache which part of each last segment was scanned."""

    def __init__(self, folder: Path) -> None:
        """Use the log `folder`, which has one subfolder per source and need not exist yet."""
        self._folder = folder
        self._tails: dict[str, _Tail] = {}

    def count(self, positions: Positions) -> int:
        """Return the number of records, including damaged records, from `positions` on."""
        if not self._folder.is_dir():
            return 0
        return sum(
            self._of_source(folder, positions.get(folder.name, Position(0, 0)))
            for folder in self._folder.iterdir()
            if folder.is_dir()
        )

    def _of_source(self, folder: Path, at: Position) -> int:
        present = segments(folder)
        if not present:
            return 0
        first: dict[int, int] = {}
        for segment in present:
            first.setdefault(segment.epoch, segment.base)
        last = ends(folder) | {present[-1].epoch: self._end(present[-1])}
        return sum(
            max(0, last.get(epoch, base) - (max(base, at.sequence) if epoch == at.epoch else base))
            for epoch, base in first.items()
            if epoch >= at.epoch
        )

    def _end(self, segment: Segment) -> int:
        """Return the sequence number of the next record that this last segment will get."""
        tail = self._tails.get(segment.path.parent.name)
        if tail is None or tail.segment != segment:
            tail = self._tails[segment.path.parent.name] = _Tail(segment)
        return tail.scan()


class _Tail:
    """Track the end of the complete frames in a segment that is still being written."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._offset = 0
        self._following = segment.base

    def scan(self) -> int:
        try:
            file = os.open(self.segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # deleted by retention, which waits for every reader
            return self._following
        try:
            size = os.fstat(file).st_size
            while span := frames.span(os.pread(file, frames.HEADER, self._offset)):
                if self._offset + span.length > size:
                    break
                self._offset += span.length
                self._following = span.following
        finally:
            os.close(file)
        return self._following
