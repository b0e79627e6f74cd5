"""How far event time has come for one model version, and what follows from it. Pure.

The newest event time of a source is its progress. The watermark is the least progress of all
sources, so reading one source ahead of another makes no event late.

A version without traffic has no newest event. Its time then follows what its sources report about
other versions: no event was ever received later than `lag` after its event time. So its last
windows close, and its labels expire, although no further request comes.
"""

from collections.abc import Mapping

import msgspec

from monitoring.windows.grid import SECOND
from monitoring.windows.learned_baseline import LearnedWindow
from registry.baselines import BaselineRecord

IDLE = 60 * SECOND  # a source this far behind the newest reception delays no window
GONE = 3600 * SECOND  # a source this far behind has ended


class SourceProgress(msgspec.Struct):
    """How far one source has come for one model version."""

    newest: int  # event time
    received: int  # the service's clock at the newest reception


class VersionProgress(msgspec.Struct):
    """What is stored of one model version besides its windows."""

    model: str
    version: str
    progress: dict[str, SourceProgress] = {}  # by source
    columns: list[str] = []  # names of a stored row's values
    lag: int = 0  # the longest that an event in time was received after its event time
    recent: list[int] = []  # starts of the windows that a trailing reference is drawn from
    closed_until: int = 0  # every pane that ends here or earlier is done
    rows_until: int = 0  # rows whose pane begins before it have expired
    samples_until: int = 0  # and so have those in samples
    learning: list[LearnedWindow] = []  # of the baseline that is being learned
    baseline: BaselineRecord | None = None  # that was learned

    def advance(self, source: str, time: int, received: int) -> None:
        """Record an event of this source."""
        progress = self.progress.get(source)
        if progress is None:
            self.progress[source] = SourceProgress(time, received)
        else:
            progress.newest = max(progress.newest, time)
            progress.received = max(progress.received, received)
        if time >= self.closed_until:
            self.lag = max(self.lag, received - time)

    def watermark(self, *, drained: bool) -> int:
        """Return the event time before which no event is expected; 0 before the first event.

        A source that fell silent counts as idle only once the log is read to its end (`drained`):
        before that its events may merely be unread.
        """
        if len(self.progress) <= 1:  # the hot path: this runs for every event
            return next((progress.newest for progress in self.progress.values()), 0)
        latest = max(progress.received for progress in self.progress.values())
        return min(
            progress.newest
            for progress in self.progress.values()
            if not (drained and progress.received < latest - IDLE)
        )

    def idle_watermark(self, received: Mapping[str, int], latest: int) -> int:
        """Return the watermark of a version without traffic; never less than `watermark`.

        `received` has the newest reception of each source, `latest` is the newest of all.
        """
        return min(
            (
                max(one.newest, max(received.get(source, 0), latest - GONE) - self.lag - IDLE)
                for source, one in self.progress.items()
            ),
            default=0,
        )
