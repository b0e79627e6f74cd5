"""Everything that decides how far event time has come, and what a window counts, lives here.

A source's newest event time says how far it has come; the watermark is the least of them, so that
reading one source ahead of another makes nobody late. A pane (grid.py) is done once the watermark
has passed its end by the grace; then the window that is filling takes it in. What comes for a pane
that is done is late: counted, and kept apart.

A version that nobody asks any more has no newest event. Its time goes on with what is heard of its
sources about others: what they would have said of it came never later after its event time than
`lag`. So its last windows close, and labels stop being awaited, though nothing follows.
"""

from collections.abc import Iterable, Mapping

import msgspec

from monitoring.counters.duration_buckets import add
from monitoring.counters.window_counters import InputCounters, LabelCounters
from monitoring.results import Result, Window
from monitoring.scoring.service_health import health
from monitoring.windows.grid import SECOND

IDLE = 60 * SECOND  # a source this far behind the others' newest reception holds nobody up
GONE = 3600 * SECOND  # one that is this far behind the others speaks of nothing any more
MOST_SHOWN = 20  # classes beside one another in a result


class SourceProgress(msgspec.Struct):
    """How far one source has come for one model version."""

    newest: int  # event time
    received: int  # the service's clock at the newest reception


class WindowState(msgspec.Struct):
    """The exact counts of one window or pane, open or closed; its rows lie in the store."""

    start: int
    end: int
    events: dict[str, int] = {}
    rows: int = 0
    labelled: int = 0
    conflicting: int = 0
    latency: dict[int, int] = {}  # answered requests, by bucket (buckets.py)
    label_delay: dict[int, int] = {}  # labelled rows: from the prediction to its truth, by bucket
    inputs: InputCounters = msgspec.field(default_factory=InputCounters)
    answers: LabelCounters = msgspec.field(default_factory=LabelCounters)
    pane: bool = False  # a part that no window has taken in yet
    closed: bool = False
    expired: bool = False  # labels no longer revise it
    scored_labels: int = 0  # labelled rows when it was last scored
    revision: int = -1  # of its newest result
    judged: bool = False  # whether its performance has been judged

    @property
    def window(self) -> Window:
        """Its place in event time."""
        return Window(self.start, self.end)

    def absorb(self, pane: "WindowState") -> None:
        """Take in the counts of the pane that comes next."""
        self.end = pane.end
        self.rows += pane.rows
        self.labelled += pane.labelled
        self.conflicting += pane.conflicting
        add(self.events, pane.events)
        add(self.latency, pane.latency)
        add(self.label_delay, pane.label_delay)
        self.inputs.merge(pane.inputs)
        self.answers.merge(pane.answers)

    @property
    def counted(self) -> bool:
        """Whether every row's values were looked at; not where an earlier release began it."""
        return self.inputs.rows + self.inputs.withheld == self.rows

    def needs_revision(self, *, final: bool) -> bool:
        """Return whether the labels since the last scoring justify a new one.

        New labels for a fifth of the rows do, or for the last unlabelled rows; `final`: any do,
        because no more are awaited.
        """
        fresh = self.labelled - self.scored_labels
        return fresh > 0 and (final or 5 * fresh >= self.rows or self.labelled == self.rows)

    def in_order(self) -> "WindowState":
        """The same counts, whatever was counted first: equal ones are equal to the byte."""
        return msgspec.structs.replace(
            self,
            events=dict(sorted(self.events.items())),
            latency=dict(sorted(self.latency.items())),
            label_delay=dict(sorted(self.label_delay.items())),
            answers=self.answers.in_order(),
        )


class VersionProgress(msgspec.Struct):
    """One model version under watch."""

    model: str
    version: str
    progress: dict[str, SourceProgress] = {}  # by source
    columns: list[str] = []  # names of a stored row's values
    lag: int = 0  # the longest that an event in time was received after its event time
    recent: list[int] = []  # starts of the windows that a trailing reference is drawn from
    closed_until: int = 0  # every pane that ends here or earlier is done
    rows_until: int = 0  # rows whose pane begins before it are forgotten
    samples_until: int = 0  # and those in samples


def advance(watch: VersionProgress, source: str, time: int, received: int) -> None:
    """Take note of an event of this source."""
    progress = watch.progress.get(source)
    if progress is None:
        watch.progress[source] = SourceProgress(time, received)
    else:
        progress.newest = max(progress.newest, time)
        progress.received = max(progress.received, received)
    if time >= watch.closed_until:
        watch.lag = max(watch.lag, received - time)


def watermark(watch: VersionProgress, *, drained: bool) -> int:
    """No earlier event is expected; 0 before the first.

    Only when everything written has been read (`drained`) is a source that fell silent known to be
    silent and not just unread.
    """
    if len(watch.progress) <= 1:  # asked for every event: in short where it can be
        return next((progress.newest for progress in watch.progress.values()), 0)
    latest = max(progress.received for progress in watch.progress.values())
    return min(
        progress.newest
        for progress in watch.progress.values()
        if not (drained and progress.received < latest - IDLE)
    )


def silence(watch: VersionProgress, heard: Mapping[str, int], latest: int) -> int:
    """The watermark where nothing is said of the version any more; never less than `watermark`.

    `heard` has the newest reception of each source, `latest` is the newest of all.
    """
    return min(
        (
            max(progress.newest, max(heard.get(source, 0), latest - GONE) - watch.lag - IDLE)
            for source, progress in watch.progress.items()
        ),
        default=0,
    )


def trail(watch: VersionProgress, start: int, most: int) -> None:
    """Have a closed window's rows be part of the trailing reference of the `most` that follow."""
    watch.recent = [*watch.recent, start][-most:]


def together(states: Iterable[WindowState]) -> list[WindowState]:
    """Open windows, oldest first, as a person sees them: panes are part of the one that fills."""
    seen: list[WindowState] = []
    for state in states:
        if state.pane and seen:
            seen[-1].absorb(state)
        else:
            seen.append(state)
    return seen


def counts(model: str, version: str, state: WindowState, *, sampled: int) -> Result:
    """A window's counts and what they say as a result; conservation holds in it."""
    waiting = state.rows - state.labelled
    confusion = state.answers.confusion
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
        confusion=confusion.in_order().cells if len(confusion.names) <= MOST_SHOWN else {},
        verdict="not enough data",
        scores=health(state.events, state.latency, state.label_delay),
    )
