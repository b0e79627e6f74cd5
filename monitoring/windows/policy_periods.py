"""Determine the monitoring policy of a window from its event time. Pure.

If a policy changes at time T of the registry's clock, the new policy applies to windows that begin
at T + MARGIN or later in event time. The policy therefore depends only on event time. A monitor
that reads the change some seconds late has not begun any of these windows, so a replay of its log
produces the same results.

A policy period is the span of event time in which one policy applies. It begins with a pane. A
window that would cross the end of a period ends there. Windows of a period close once the watermark
has passed their end by the period's grace, after all windows of earlier periods.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from monitoring.results import Window
from monitoring.windows.grid import END_OF_TIME, SECOND, Grid, grid
from registry.manifest import Monitoring, Version
from registry.policies import DatedPolicy, digest

MARGIN = 60 * SECOND  # from a policy change to the first window that can use it


class PolicyPeriod(msgspec.Struct, frozen=True):
    """A span of event time with one policy for all its windows; it ends with `grid.end`."""

    start: int  # microseconds since the epoch; 0 for the first period
    dated: DatedPolicy
    digest: str  # digest of the policy
    grid: Grid

    @property
    def policy(self) -> Monitoring:
        """The monitoring policy of the period's windows."""
        return self.dated.policy


class PolicyTimeline:
    """The policy periods of one version."""

    def __init__(self, periods: Sequence[PolicyPeriod]) -> None:
        """Accept periods in order; the first begins at 0."""
        self.periods = tuple(periods)
        self._starts = [period.start for period in periods]
        self._graces = [period.policy.window.grace * SECOND for period in periods]
        self.least_grace = min(self._graces)  # shortest grace of any period, in microseconds
        self._pane = Window(0, 0)  # last result of `pane`, cached for the next event

    def at(self, time: int) -> PolicyPeriod:
        """Return the period of an event time."""
        return self.periods[self._index(time)]

    def grid(self, time: int) -> Grid:
        """Return the grid of the windows at an event time."""
        return self.at(time).grid

    def pane(self, time: int) -> Window:
        """Return the pane that contains an event time."""
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
        """Return the event time up to which windows can close at watermark `mark`.

        Windows up to `since` are closed.
        """
        if len(self.periods) == 1:  # saves time, because this runs for every event
            return mark - self._graces[0]
        for index in range(self._index(since), len(self.periods) - 1):
            reached = mark - self._graces[index]
            if reached < self._starts[index + 1]:
                return max(reached, self._starts[index])
        return max(mark - self._graces[-1], self._starts[-1])

    def _index(self, time: int) -> int:
        return max(bisect_right(self._starts, time) - 1, 0)


def timeline(history: Iterable[DatedPolicy]) -> PolicyTimeline:
    """Build the policy periods from a version's policies in the order of time.

    The first policy applies from 0. A period begins with a pane. If two changes would begin with
    the same pane, the later change applies.
    """
    starts: list[tuple[int, DatedPolicy]] = []
    for change in history:
        if not starts or change.at == 0:
            starts = [(0, change)]
            continue
        start = max(_border(_periods(starts), change.at + MARGIN), starts[-1][0])
        if starts[-1][0] == start:
            starts.pop()
        if not starts or starts[-1][1].policy != change.policy:
            starts.append((start, change))
    return _periods(starts)


def as_registered(version: Version) -> PolicyTimeline:
    """Build the timeline of a version that has only its registered policy."""
    return timeline([DatedPolicy(version.manifest.monitoring, 0)])


def _periods(starts: Sequence[tuple[int, DatedPolicy]]) -> PolicyTimeline:
    ends = [*(start for start, _ in starts[1:]), END_OF_TIME]
    return PolicyTimeline(
        [
            PolicyPeriod(
                start, change, digest(change.policy), grid(change.policy.window, start, end)
            )
            for (start, change), end in zip(starts, ends, strict=True)
        ]
    )


def _border(periods: PolicyTimeline, time: int) -> int:
    """Return the start of the first pane that begins at `time` or later."""
    pane = periods.grid(time).pane(time)
    return time if pane.start == time else pane.end
