"""How far event time has come for one model version, and what follows from it. Pure.

The progress of a source follows the bulk of its events: three in four of the last 16 had reached
it. So a stray among backfilled events, or an event of 1970, decides nothing. An event time ahead of
its reception is no progress beyond the reception. Progress may fall back; what is closed stays
closed. The watermark is the least progress of all sources, so reading one source ahead of another
makes no event late.

A version without traffic has no newest event. Its time then follows what its sources report about
other versions: three in four of its events were received no later than `delay` after their event
time. So its last windows close, and its labels expire, although no further request comes.
"""

from collections.abc import Mapping

import msgspec

from monitoring.windows.grid import SECOND
from monitoring.windows.learned_baseline import LearnedWindow
from registry.baselines import BaselineRecord

IDLE = 60 * SECOND  # a source this far behind the newest reception delays no window
GONE = 3600 * SECOND  # a source this far behind has ended
RECENT = 16  # events of a source that decide about its progress


class SourceProgress(msgspec.Struct):
    """How far one source has come for one model version, in microseconds."""

    newest: int  # event time, none ahead of its reception
    received: int  # the source's clock at its last event
    delays: list[int] = []  # of its last events, from event time to reception

    def advance(self, time: int, received: int, clock: int) -> None:
        """Record an event; its source's clock has reached `clock`."""
        if self.received and not self.delays:  # stored by an earlier release
            self.delays = [max(0, self.received - self.newest)] * (RECENT - 1)
        self.newest = max(self.newest, min(time, received, clock))
        self.received = clock
        self.delays.append(max(0, received - time))
        if len(self.delays) > RECENT:
            del self.delays[0]

    @property
    def delay(self) -> int:
        """The delay that three in four of the last events do not exceed, and at least two."""
        count = len(self.delays)
        return sorted(self.delays)[max(min(count, 2), 3 * count // 4) - 1] if count else 0

    @property
    def reached(self) -> int:
        """The event time that the bulk of the last events has reached."""
        if not self.delays:  # stored by an earlier release
            return self.newest
        return min(self.newest, self.received - self.delay)


class VersionProgress(msgspec.Struct):
    """What is stored of one model version besides its windows."""

    model: str
    version: str
    progress: dict[str, SourceProgress] = {}  # by source
    columns: list[str] = []  # names of a stored row's values
    lag: int = 0  # delay of sources whose last event an earlier release ingested
    recent: list[int] = []  # starts of the windows that a trailing reference is drawn from
    closed_until: int = 0  # every pane that ends here or earlier is done
    rows_until: int = 0  # rows whose pane begins before it have expired
    samples_until: int = 0  # and so have those in samples
    learning: list[LearnedWindow] = []  # of the baseline that is being learned
    baseline: BaselineRecord | None = None  # that was learned

    def advance(self, source: str, time: int, received: int, clock: int) -> None:
        """Record an event of this source, whose clock has reached `clock`."""
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

        A source that fell silent counts as idle only once the log is read to its end (`drained`):
        before that its events may merely be unread.
        """
        if len(self.progress) <= 1:  # the hot path: this runs for every event
            return next((progress.reached for progress in self.progress.values()), 0)
        latest = max(progress.received for progress in self.progress.values())
        return min(
            progress.reached
            for progress in self.progress.values()
            if not (drained and progress.received < latest - IDLE)
        )

    def idle_watermark(self, received: Mapping[str, int], latest: int) -> int:
        """Return the watermark of a version without traffic; never less than `watermark`.

        `received` has the newest reception of each source, `latest` is the newest of all.
        """
        return min(
            (
                max(
                    one.reached,
                    max(received.get(source, 0), latest - GONE) - self._delay(one) - IDLE,
                )
                for source, one in self.progress.items()
            ),
            default=0,
        )

    @property
    def delay(self) -> int:
        """The longest delay of any source."""
        return max(map(self._delay, self.progress.values()), default=0)

    def _delay(self, progress: SourceProgress) -> int:
        return progress.delay if progress.delays else self.lag
