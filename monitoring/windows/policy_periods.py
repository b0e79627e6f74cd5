"""Decide which policy a window is monitored by. Pure.

A policy that changes at a time T of the registry's clock holds for windows that begin at T + MARGIN
in event time or later. So the policy is a function of event time alone: a monitor that learns of
the change some seconds late has begun none of these windows yet, and decides what a replay decides.

A policy period lies between two such borders, which are ends of panes. No window crosses a border;
one that would is cut short. Windows of a period close once the watermark has passed their end by
the period's grace, and none closes before those of earlier periods.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from monitoring.results import Window
from monitoring.windows.grid import END_OF_TIME, SECOND, Grid, grid
from registry.manifest import Monitoring, Version
from registry.policies import DatedPolicy, digest

MARGIN = 60 * SECOND


class PolicyPeriod(msgspec.Struct, frozen=True):
    """A span of event time, up to the next period, with one policy for all its windows."""

    start: int  # microseconds since the epoch; of the first period 0
    held: DatedPolicy
    digest: str
    grid: Grid

    @property
    def policy(self) -> Monitoring:
        """The monitoring policy of its windows."""
        return self.held.policy


class PolicyTimeline:
    """The policy periods of one version."""

    def __init__(self, periods: Sequence[PolicyPeriod]) -> None:
        """`periods` in order, the first from 0 on."""
        self.periods = tuple(periods)
        self._starts = [period.start for period in periods]
        self._graces = [period.policy.window.grace * SECOND for period in periods]
        self.least_grace = min(self._graces)  # in microseconds; no window closes sooner
        self._pane = Window(0, 0)  # pane of the last look-up; the next event is likely in it, too

    def at(self, time: int) -> PolicyPeriod:
        """Return the period of an event time."""
        return self.periods[self._index(time)]

    def grid(self, time: int) -> Grid:
        """Return the bounds of the windows of this event time."""
        return self.at(time).grid

    def pane(self, time: int) -> Window:
        """Return the pane that holds the event time."""
        if not self._pane.start <= time < self._pane.end:
            self._pane = self.grid(time).pane(time)
        return self._pane

    def longest_wait(self, since: int, until: int) -> int:
        """Return the longest wait for labels between two event times, in microseconds."""
        periods = [
            period for period in self.periods if since < period.grid.end and period.start < until
        ]
        longest = max(period.policy.window.label_wait for period in periods or self.periods[-1:])
        return longest * SECOND

    def done(self, mark: int, since: int) -> int:
        """Return the event time up to which windows may close at this watermark.

        Windows that end by `since` have closed.
        """
        if len(self.periods) == 1:  # the common case of a path that runs for every event
            return mark - self._graces[0]
        for index in range(self._index(since), len(self.periods) - 1):
            reached = mark - self._graces[index]
            if reached < self._starts[index + 1]:
                return max(reached, self._starts[index])
        return max(mark - self._graces[-1], self._starts[-1])

    def _index(self, time: int) -> int:
        return max(bisect_right(self._starts, time) - 1, 0)


def timeline(history: Iterable[DatedPolicy]) -> PolicyTimeline:
    """Build the periods of policies that held one after the other; the first holds from 0.

    A period begins with a pane. Of two changes that would begin with the same one, the later holds.
    """
    begins: list[tuple[int, DatedPolicy]] = []
    for change in history:
        if not begins or change.at == 0:
            begins = [(0, change)]
            continue
        start = max(_border(_periods(begins), change.at + MARGIN), begins[-1][0])
        if begins[-1][0] == start:
            begins.pop()
        if not begins or begins[-1][1].policy != change.policy:
            begins.append((start, change))
    return _periods(begins)


def as_registered(version: Version) -> PolicyTimeline:
    """Build the timeline of a version whose policy never changed."""
    return timeline([DatedPolicy(version.manifest.monitoring, 0)])


def _periods(begins: Sequence[tuple[int, DatedPolicy]]) -> PolicyTimeline:
    ends = [*(start for start, _ in begins[1:]), END_OF_TIME]
    return PolicyTimeline(
        [
            PolicyPeriod(
                start, change, digest(change.policy), grid(change.policy.window, start, end)
            )
            for (start, change), end in zip(begins, ends, strict=True)
        ]
    )


def _border(periods: PolicyTimeline, time: int) -> int:
    """Return the start of the first pane that begins at this time or later."""
    pane = periods.grid(time).pane(time)
    return time if pane.start == time else pane.end
