"""Store the range of event times of each complete segment's predictions in a file next to it.

    <log>/<source>/<epoch>-<first sequence>.times   "<least> <greatest>", "" without predictions

Readers of a period of event time start at the first segment that can contain its predictions. The
file is missing for the current segment, for the last segment of a killed writer, and for segments
of earlier releases. Such a segment can contain any event time.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from eventlog.durable_files import create_private
from eventlog.events import Event, PredictionEvent
from eventlog.layout import Segment, first_positions, segments, sources
from eventlog.log import Position

TIMES = ".times"
# The end of the line shows that the file is complete.
_LINE = re.compile(r"(?:(-?\d{1,20}) (-?\d{1,20}))?\n")


class EventTimes:
    """The range of event times of a segment's predictions."""

    def __init__(self) -> None:
        self._least: int | None = None
        self._greatest = 0

    def include(self, events: Iterable[Event]) -> None:
        """Extend the range by the predictions in `events`."""
        for event in events:
            if isinstance(event, PredictionEvent):
                if self._least is None:
                    self._least = self._greatest = event.time
                elif event.time > self._greatest:
                    self._greatest = event.time
                elif event.time < self._least:
                    self._least = event.time

    def write(self, segment: Path) -> None:
        """Write the segment's file; a failure is ignored, because it only makes readers slower."""
        text = "\n" if self._least is None else f"{self._least} {self._greatest}\n"
        with suppress(OSError):
            path = times_path(segment)
            create_private(path)
            path.write_text(text)


def times_path(segment: Path) -> Path:
    """Return the path of the file that contains a segment's event times."""
    return segment.with_suffix(TIMES)


def positions_of_period(log: Path, first: int) -> Mapping[str, Position]:
    """Return for each source a position before all predictions with event time >= `first`."""

    def may_hold(segment: Segment) -> bool:
        has_times, greatest = _greatest(segment)
        return not has_times or (greatest is not None and greatest >= first)

    return first_positions(log, may_hold)


def latest_time(log: Path) -> int | None:
    """Return the greatest event time in the segments' files, or None if no file has one."""
    every = (segment for folder in sources(log) for segment in segments(folder))
    return max((time for _, time in map(_greatest, every) if time is not None), default=None)


def _greatest(segment: Segment) -> tuple[bool, int | None]:
    """Return whether a segment has a valid file, and its greatest time, if any."""
    with suppress(OSError, UnicodeDecodeError):
        if match := _LINE.fullmatch(times_path(segment.path).read_text()):
            return True, int(match[2]) if match[2] else None
    return False, None
