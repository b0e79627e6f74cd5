"""Everything that decides which window an event belongs to and when a window closes lives here.

Windows tumble: window n of length L is `[n L, (n + 1) L)` in event time since the Unix epoch. A
source's newest event time says how far it has come; the watermark is the least of them, so that
reading one source ahead of another makes nobody late. A window closes once the watermark has passed
its end by the grace. What comes for a closed window is late: counted, and kept apart.
"""

import msgspec

from monitoring.core.health import health
from monitoring.core.results import Result, Window

SECOND = 1_000_000  # microseconds
IDLE = 60 * SECOND  # a source this far behind the others' newest reception holds nobody up
LONGEST_GAP = 100  # windows without any event that are still shown one by one


class Progress(msgspec.Struct):
    """How far one source has come for one model version."""

    newest: int  # event time
    received: int  # the service's clock at the newest reception


class WindowState(msgspec.Struct):
    """The exact counts of one window, open or closed; its rows lie in the store."""

    start: int
    end: int
    events: dict[str, int] = {}
    rows: int = 0
    labelled: int = 0
    conflicting: int = 0
    latency: dict[int, int] = {}  # answered requests, by bucket (buckets.py)
    label_delay: dict[int, int] = {}  # labelled rows: from the prediction to its truth, by bucket
    closed: bool = False
    expired: bool = False  # labels no longer revise it
    scored_labels: int = 0  # labelled rows when it was last scored
    revision: int = -1  # of its newest result
    judged: bool = False  # whether its performance has been judged

    @property
    def window(self) -> Window:
        """Its place in event time."""
        return Window(self.start, self.end)

    def in_order(self) -> "WindowState":
        """The same counts, whatever was counted first: equal ones are equal to the byte."""
        return msgspec.structs.replace(
            self,
            events=dict(sorted(self.events.items())),
            latency=dict(sorted(self.latency.items())),
            label_delay=dict(sorted(self.label_delay.items())),
        )


class Watch(msgspec.Struct):
    """One model version under watch."""

    model: str
    version: str
    progress: dict[str, Progress] = {}  # by source
    columns: list[str] = []  # names of a stored row's values
    closed_until: int = 0  # every window that ends here or earlier is closed


def window_of(time: int, length: int) -> Window:
    """The window of `length` seconds that holds the event time."""
    size = length * SECOND
    start = time // size * size
    return Window(start, start + size)


def advance(watch: Watch, source: str, time: int, received: int) -> None:
    """Take note of an event of this source."""
    progress = watch.progress.get(source)
    if progress is None:
        watch.progress[source] = Progress(time, received)
    else:
        progress.newest = max(progress.newest, time)
        progress.received = max(progress.received, received)


def watermark(watch: Watch, *, drained: bool) -> int:
    """No earlier event is expected; 0 before the first.

    Only when everything written has been read (`drained`) is a source that fell silent known to be
    silent and not just unread.
    """
    if not watch.progress:
        return 0
    latest = max(progress.received for progress in watch.progress.values())
    return min(
        progress.newest
        for progress in watch.progress.values()
        if not (drained and progress.received < latest - IDLE)
    )


def due(
    open_windows: list[Window], watch: Watch, mark: int, length: int, grace: int
) -> list[Window]:
    """The windows to close at this watermark, in order, with the empty ones between them.

    `length` and `grace` in seconds. Advances `closed_until`.
    """
    ended = mark - grace * SECOND
    ready = sorted(window for window in open_windows if window.end <= ended)
    if not ready:
        return []
    closing: list[Window] = []
    for window in ready:
        closing.extend(_between(watch.closed_until, window, length * SECOND))
        closing.append(window)
        watch.closed_until = window.end
    return closing


def counts(model: str, version: str, state: WindowState, *, sampled: int) -> Result:
    """A window's counts and what they say as a result; conservation holds in it."""
    waiting = state.rows - state.labelled
    return Result(
        model=model,
        version=version,
        window=state.window,
        revision=max(state.revision, 0),
        events=dict(sorted(state.events.items())),
        rows=state.rows,
        sampled=sampled,
        labelled=state.labelled,
        pending=0 if state.expired else waiting,
        expired=waiting if state.expired else 0,
        conflicting=state.conflicting,
        verdict="not enough data",
        scores=health(state.events, state.latency, state.label_delay),
    )


def _between(closed_until: int, window: Window, size: int) -> list[Window]:
    missing = (window.start - closed_until) // size
    if closed_until == 0 or missing > LONGEST_GAP:
        return []
    return [Window(start, start + size) for start in range(closed_until, window.start, size)]
