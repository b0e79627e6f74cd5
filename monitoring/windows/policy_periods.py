"""Everything that decides which policy a window is watched by lives here.

A policy that is changed at a time T of the registry's clock holds for windows that begin at
T + MARGIN in event time or later. So it is a function of event time alone: a monitor that hears of
the change some seconds late has begun no window that it is about, and decides what a replay decides
that knows of it from the start.

An era lies between two such borders, which are ends of panes; no window lies in two, one that would
is cut short. Windows of an era close once the watermark has passed their end by the era's grace,
and none closes before those of the eras before it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from monitoring.results import Window
from monitoring.windows.grid import END_OF_TIME, SECOND, Grid, grid
from registry.manifest import Monitoring, Version
from registry.policies import Held, digest

MARGIN = 60 * SECOND


class PolicyPeriod(msgspec.Struct, frozen=True):
    """A span of event time, up to the next era, whose windows are watched by one policy."""

    start: int  # microseconds since the epoch; of the first era 0
    held: Held
    digest: str
    grid: Grid

    @property
    def policy(self) -> Monitoring:
        """How its windows are watched."""
        return self.held.policy


class PolicyTimeline:
    """The eras of one version."""

    def __init__(self, eras: Sequence[PolicyPeriod]) -> None:
        """`eras` in order, the first from 0 on."""
        self.eras = tuple(eras)
        self._starts = [era.start for era in eras]
        self._graces = [era.policy.window.grace * SECOND for era in eras]
        self._pane = Window(0, 0)  # looked up last: the next event is likely to lie in it

    def at(self, time: int) -> PolicyPeriod:
        """The era that this event time lies in."""
        return self.eras[self._place(time)]

    def grid(self, time: int) -> Grid:
        """Where windows of this event time begin and end."""
        return self.at(time).grid

    def pane(self, time: int) -> Window:
        """The pane that holds the event time."""
        if not self._pane.start <= time < self._pane.end:
            self._pane = self.grid(time).pane(time)
        return self._pane

    def longest_wait(self, since: int, until: int) -> int:
        """How long any window between two event times awaits labels; in microseconds."""
        eras = [era for era in self.eras if since < era.grid.end and era.start < until]
        return max(era.policy.window.label_wait for era in eras or self.eras[-1:]) * SECOND

    def done(self, mark: int, since: int) -> int:
        """Windows that end here or earlier may close at this watermark; those to `since` have."""
        if len(self.eras) == 1:  # as of most versions, and this is asked for every event
            return mark - self._graces[0]
        for place in range(self._place(since), len(self.eras) - 1):
            reached = mark - self._graces[place]
            if reached < self._starts[place + 1]:
                return max(reached, self._starts[place])
        return max(mark - self._graces[-1], self._starts[-1])

    def _place(self, time: int) -> int:
        return max(bisect_right(self._starts, time) - 1, 0)


def timeline(history: Iterable[Held]) -> PolicyTimeline:
    """The eras that policies make which held one after the other; the first from the beginning.

    An era begins with a pane. Of two changes that would begin with the same, the later one holds.
    """
    begins: list[tuple[int, Held]] = []
    for held in history:
        if not begins or held.at == 0:
            begins = [(0, held)]
            continue
        start = max(_border(_eras(begins), held.at + MARGIN), begins[-1][0])
        if begins[-1][0] == start:
            begins.pop()
        if not begins or begins[-1][1].policy != held.policy:
            begins.append((start, held))
    return _eras(begins)


def as_registered(version: Version) -> PolicyTimeline:
    """Of a version whose policy was never changed."""
    return timeline([Held(version.manifest.monitoring, 0)])


def _eras(begins: Sequence[tuple[int, Held]]) -> PolicyTimeline:
    ends = [*(start for start, _ in begins[1:]), END_OF_TIME]
    return PolicyTimeline(
        [
            PolicyPeriod(start, held, digest(held.policy), grid(held.policy.window, start, end))
            for (start, held), end in zip(begins, ends, strict=True)
        ]
    )


def _border(known: PolicyTimeline, time: int) -> int:
    """Where the first pane begins that begins at this time or later."""
    pane = known.grid(time).pane(time)
    return time if pane.start == time else pane.end
