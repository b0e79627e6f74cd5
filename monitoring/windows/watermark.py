"""The watermark of a model version: the event time before which no event is expected. Pure.

The watermark of a source is its last reception minus its delay, but at most its newest event time.
The delay is the 75th percentile of the time from event to reception over the source's last 16
events, so a few stray events, such as one dated 1970, do not move it. An event time later than its
reception counts as the reception. A source's watermark may decrease; closed windows stay closed.

The watermark of a version is the minimum over its sources, so no event becomes late because one
source was read before another.

A version without traffic gets no newer events. Its watermark then follows the receptions that its
sources report for other versions, minus the delay of its own events. So its last windows close and
its labels expire without another request.
"""

from collections.abc import Mapping

import msgspec

from monitoring.windows.grid import SECOND
from monitoring.windows.learned_baseline import LearnedWindow
from registry.baselines import BaselineRecord

IDLE = 60 * SECOND  # a source this far behind the newest reception delays no window
GONE = 3600 * SECOND  # a source this far behind counts as ended
RECENT = 16  # last events of a source that its delay is computed from


class SourceProgress(msgspec.Struct):
    """Progress of one source in the events of one model version, in microseconds."""

    newest: int  # newest event time, at most the reception
    received: int  # newest credible reception at its last event
    delays: list[int] = []  # delays from event time to reception, of the last events

    def advance(self, time: int, received: int, clock: int) -> None:
        """Record an event; `clock` is the source's newest credible reception."""
        if self.received and not self.delays:  # stored by an earlier release
            self.delays = [max(0, self.received - self.newest)] * (RECENT - 1)
        self.newest = max(self.newest, min(time, received, clock))
        self.received = clock
        self.delays.append(max(0, received - time))
        if len(self.delays) > RECENT:
            del self.delays[0]

    @property
    def delay(self) -> int:
        """The 75th percentile of the last delays, but at least the second smallest; 0 for none."""
        count = len(self.delays)
        return sorted(self.delays)[max(min(count, 2), 3 * count // 4) - 1] if count else 0

    @property
    def watermark(self) -> int:
        """The event time before which the source is expected to send no event."""
        if not self.delays:  # stored by an earlier release
            return self.newest
        return min(self.newest, self.received - self.delay)


class VersionProgress(msgspec.Struct):
    """The stored state of one model version, without its windows."""

    model: str
    version: str
    progress: dict[str, SourceProgress] = {}  # keyed by source
    columns: list[str] = []  # names of a stored row's values
    lag: int = 0  # delay of sources that have no delays: an earlier release ingested their events
    recent: list[int] = []  # starts of the windows that the trailing reference samples
    closed_until: int = 0  # panes that end at or before this time are closed
    rows_until: int = 0  # rows of panes that begin before this time have expired
    samples_until: int = 0  # sampled rows of panes that begin before this time have expired
    learning: list[LearnedWindow] = []  # windows of a baseline that is not complete yet
    baseline: BaselineRecord | None = None  # the learned baseline, once complete

    def advance(self, source: str, time: int, received: int, clock: int) -> None:
        """Record an event; `clock` is the source's newest credible reception."""
        progress = self.progress.get(source)
        if progress is None:
            progress = self.progress[source] = SourceProgress(0, 0)
        progress.advance(time, received, clock)

    @property
    def newest(self) -> int:
        """The newest event time of any source; no watermark is later."""
        if len(self.progress) == 1:
            return next(iter(self.progress.values())).newest
        return max((progress.newest for progress in self.progress.values()), default=0)

    def watermark(self, *, drained: bool) -> int:
        """Return the event time before which no event is expected; 0 before the first event.

        A source without new events is ignored as idle only if the log was read to its end
        (`drained`): until then, its events may be unread.
        """
        if len(self.progress) <= 1:  # the hot path: this runs for every event
            return next((progress.watermark for progress in self.progress.values()), 0)
        latest = max(progress.received for progress in self.progress.values())
        return min(
            progress.watermark
            for progress in self.progress.values()
            if not (drained and progress.received < latest - IDLE)
        )

    def idle_watermark(self, received: Mapping[str, int], latest: int) -> int:
        """Return the watermark of a version without traffic, at least that of its own events.

        `received` is the newest reception of each source for any version, `latest` their maximum.
        """
        return min(
            (
                max(
                    progress.watermark,
                    max(received.get(source, 0), latest - GONE) - self._delay(progress) - IDLE,
                )
                for source, progress in self.progress.items()
            ),
            default=0,
        )

    @property
    def delay(self) -> int:
        """The longest delay of any source."""
        return max(map(self._delay, self.progress.values()), default=0)

    def _delay(self, progress: SourceProgress) -> int:
        return progress.delay if progress.delays else self.lag


class SourceActivity(msgspec.Struct, frozen=True):
    """The part of `SourceProgress` that finding recently active versions needs."""

    newest: int


class VersionActivity(msgspec.Struct, frozen=True):
    """The part of `VersionProgress` that finding recently active versions needs."""

    model: str
    version: str
    progress: dict[str, SourceActivity] = {}

    @property
    def newest(self) -> int:
        """The newest event time of any source; 0 without events."""
        return max((progress.newest for progress in self.progress.values()), default=0)
