"""The watermark of a model version: the event time before which no event is expected. Pure.

The watermark of a source is its last reception minus its delay, but at most its newest event time.
The delay is the 75th percentile of the time from event to reception over the source's last 16
events, so a few wrong event times, such as 1970, do not affect it. If an event time is later than
its reception, the reception is used. A source's watermark can decrease; closed windows stay closed.

The watermark of a version is the minimum over its sources. An event therefore never becomes late
because sources were read in a certain order.

A version without traffic has no new events. Its watermark is then computed from its sources'
receptions for other versions, minus the delay of its last events. Its last windows close and its
labels expire without a further request.
"""

from collections.abc import Mapping

import msgspec

from monitoring.windows.grid import SECOND
from monitoring.windows.learned_baseline import LearnedWindow
from registry.baselines import BaselineRecord

IDLE = 60 * SECOND  # a source this far behind the newest reception does not delay windows
GONE = 3600 * SECOND  # a source this far behind counts as ended
RECENT = 16  # number of a source's last events from which its delay is computed


class SourceProgress(msgspec.Struct):
    """Progress of one source in the events of one model version, in microseconds."""

    newest: int  # newest event time, at most its reception
    received: int  # source's newest credible reception when its last event was recorded
    delays: list[int] = []  # times from event to reception of the last events

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
        """The 75th percentile of the last delays, but at least the second smallest; 0 if empty."""
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
    lag: int = 0  # delay of sources without `delays`, stored by an earlier release
    recent: list[int] = []  # starts of the windows of the trailing reference
    closed_until: int = 0  # panes that end at or before this time are closed
    rows_until: int = 0  # rows of panes that begin before this time have expired
    samples_until: int = 0  # sampled rows of panes that begin before this time have expired
    learning: list[LearnedWindow] = []  # windows of the baseline that is being learned
    baseline: BaselineRecord | None = None  # the learned baseline, once complete

    def advance(self, source: str, time: int, received: int, clock: int) -> None:
        """Record an event; `clock` is the source's newest credible reception."""
        progress = self.progress.get(source)
        if progress is None:
            progress = self.progress[source] = SourceProgress(0, 0)
        progress.advance(time, received, clock)

    @property
    def newest(self) -> int:
        """The newest event time of any source; the watermark is never later."""
        if len(self.progress) == 1:
            return next(iter(self.progress.values())).newest
        return max((progress.newest for progress in self.progress.values()), default=0)

    def watermark(self, *, drained: bool) -> int:
        """Return the event time before which no event is expected; 0 before the first event.

        An idle source is ignored only if the log was read to its end (`drained`), because otherwise
        it can have unread events.
        """
        if len(self.progress) <= 1:  # saves time, because this runs for every event
            return next((progress.watermark for progress in self.progress.values()), 0)
        latest = max(progress.received for progress in self.progress.values())
        return min(
            progress.watermark
            for progress in self.progress.values()
            if not (drained and progress.received < latest - IDLE)
        )

    def idle_watermark(self, received: Mapping[str, int], latest: int) -> int:
        """Return the watermark of a version without traffic, at least the watermark of its events.

        `received` is each source's newest reception for any version, `latest` the maximum over all
        sources.
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
        """The longest delay of any source, in microseconds."""
        return max(map(self._delay, self.progress.values()), default=0)

    def _delay(self, progress: SourceProgress) -> int:
        return progress.delay if progress.delays else self.lag


class SourceActivity(msgspec.Struct, frozen=True):
    """The part of `SourceProgress` that the search for active versions needs."""

    newest: int


class VersionActivity(msgspec.Struct, frozen=True):
    """The part of `VersionProgress` that the search for active versions needs."""

    model: str
    version: str
    progress: dict[str, SourceActivity] = {}

    @property
    def newest(self) -> int:
        """The newest event time of any source; 0 without events."""
        return max((progress.newest for progress in self.progress.values()), default=0)
