"""State the event times of a complete segment's predictions in a file beside it.

    <log>/<source>/<epoch>-<first sequence>.times   "<least> <greatest>", "" without predictions

Readers of a period of event time begin at the first segment that may hold predictions of it. A
segment without this file may hold any: the current one, that of a killed writer, or one of an
earlier release.
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
    """The least and the greatest event time of the predictions in a segment."""

    def __init__(self) -> None:
        self._least: int | None = None
        self._greatest = 0

    def include(self, events: Iterable[Event]) -> None:
        """Extend the range by the predictions among some events."""
        for event in events:
            if isinstance(event, PredictionEvent):
                if self._least is None:
                    self._least = self._greatest = event.time
                elif event.time > self._greatest:
                    self._greatest = event.time
                elif event.time < self._least:
                    self._least = event.time

    def write(self, segment: Path) -> None:
        """Write the file of a segment; without it, readers read more."""
        text = "\n" if self._least is None else f"{self._least} {self._greatest}\n"
        with suppress(OSError):
            path = times_path(segment)
            create_private(path)
            path.write_text(text)


def times_path(segment: Path) -> Path:
    """Return the file that states the event times of a segment."""
    return segment.with_suffix(TIMES)


def positions_of_period(log: Path, first: int) -> Mapping[str, Position]:
    """Return a position in each source; each prediction at `first` or later lies after it."""

    def may_hold(segment: Segment) -> bool:
        has_times, greatest = _greatest(segment)
        return not has_times or (greatest is not None and greatest >= first)

    return first_positions(log, may_hold)


def latest_time(log: Path) -> int | None:
    """Return the greatest event time that a segment's file states; None without one."""
    every = (segment for folder in sources(log) for segment in segments(folder))
    return max((time for _, time in map(_greatest, every) if time is not None), default=None)


def _greatest(segment: Segment) -> tuple[bool, int | None]:
    """Return whether a segment's times are known, and the latest one."""
    with suppress(OSError, UnicodeDecodeError):
        if match := _LINE.fullmatch(times_path(segment.path).read_text()):
            return True, int(match[2]) if match[2] else None
    return False, None
