"""Decide where windows begin and end. Pure.

Windows follow each other in event time without gaps. They consist of panes of length `step`. A pane
is done when the watermark (the time before which no event is expected) has passed the pane's end by
the grace. A window then absorbs the whole pane, so the window's rows do not depend on the order of
arrival.

A window ends at a multiple of `length` since the Unix epoch, or with the pane in which it reaches
`rows` rows, whichever is first. Without `rows`, a pane is as long as a window. `offset` shifts all
multiples. A grid applies to one policy period (policy_periods.py), and no window crosses the end of
a period.
"""

from collections.abc import Callable, Iterable

import msgspec

from monitoring.results import Window
from registry.manifest import WindowPolicy

SECOND = 1_000_000  # microseconds
END_OF_TIME = 1 << 62
LONGEST_GAP = 100  # maximum consecutive empty windows that have results


class CountedSpan(msgspec.Struct, frozen=True):
    """A pane that no window has absorbed, or the window that absorbs panes, with its rows."""

    window: Window
    rows: int


class Fill(msgspec.Struct, frozen=True):
    """An instruction to let `window`, which now ends with `pane`, absorb this pane."""

    pane: Window
    window: Window


class Close(msgspec.Struct, frozen=True):
    """An instruction to close a window, which is empty if it has absorbed no pane."""

    window: Window


class Grid(msgspec.Struct, frozen=True):
    """The event times at which windows can begin and end, in microseconds."""

    length: int | None  # None if windows end only by rows
    step: int
    rows: int | None  # None if windows end only by length
    start: int = 0  # earliest start of a window
    end: int = END_OF_TIME  # latest end of a window
    offset: int = 0  # time since the Unix epoch from which multiples are counted

    def pane(self, time: int) -> Window:
        """Return the pane that contains an event time."""
        pane = self._multiple(time, self.step)
        return Window(max(pane.start, self.start), min(pane.end, self.end))

    def latest_end(self, start: int) -> int:
        """Return the latest end of a window that begins at `start`, however few rows it has."""
        if self.length is None:
            return self.end
        return min(self._multiple(start, self.length).end, self.end)

    def begin(self, pane: Window, closed_until: int) -> int:
        """Return the start of the window whose first pane with events is `pane`."""
        if self.length is None:
            return max(closed_until, self.start) or pane.start
        return max(self._multiple(pane.start, self.length).start, closed_until, self.start)

    def is_full(self, filling: CountedSpan) -> bool:
        """Return whether a window must close, because of its rows or its length."""
        enough = self.rows is not None and filling.rows >= self.rows
        return enough or filling.window.end >= self.latest_end(filling.window.start)

    def _multiple(self, time: int, size: int) -> Window:
        start = (time - self.offset) // size * size + self.offset
        return Window(start, start + size)


GridAt = Callable[[int], Grid]  # returns the grid at an event time


def next_steps(
    at: GridAt,
    filling: CountedSpan | None,
    panes: Iterable[CountedSpan],
    closed_until: int,
    done: int,
) -> list[Fill | Close]:
    """Return the steps, in order, for all panes that end by `done`; `panes` are in order.

    `filling` is the window that has absorbed panes so far. `closed_until` is the end of the pane
    that was absorbed last, 0 if there is none.
    """
    steps: list[Fill | Close] = []
    for pane in panes:
        if pane.window.end > done:
            break
        if filling is not None and (end := _latest_end(at, filling)) < pane.window.end:
            steps.append(Close(Window(filling.window.start, end)))
            filling, closed_until = None, end
        if filling is None:
            begin = at(pane.window.start).begin(pane.window, closed_until)
            steps += [Close(window) for window in _empty(at, closed_until, begin)]
            filling = CountedSpan(Window(begin, begin), 0)
        window, closed_until = Window(filling.window.start, pane.window.end), pane.window.end
        filling = CountedSpan(window, filling.rows + pane.rows)
        steps.append(Fill(pane.window, window))
        if at(window.start).is_full(filling):
            steps.append(Close(window))
            filling = None
    if filling is not None and (end := _latest_end(at, filling)) <= done:
        steps.append(Close(Window(filling.window.start, end)))
    return steps


def _latest_end(at: GridAt, filling: CountedSpan) -> int:
    return at(filling.window.start).latest_end(filling.window.start)


def _empty(at: GridAt, closed_until: int, begin: int) -> list[Window]:
    """Return the empty windows before `begin`, or an empty list if there are too many."""
    missing: list[Window] = []
    while 0 < closed_until < begin and len(missing) <= LONGEST_GAP:
        window = Window(closed_until, at(closed_until).latest_end(closed_until))
        if at(closed_until).length is not None:  # a window that ends only by rows is never empty
            missing.append(window)
        closed_until = window.end
    return missing if len(missing) <= LONGEST_GAP else []


def grid(policy: WindowPolicy, start: int = 0, end: int = END_OF_TIME) -> Grid:
    """Return the grid of a window policy that applies from `start` to `end`."""
    length = None if policy.length is None else policy.length * SECOND
    offset = policy.offset * SECOND
    if policy.rows is not None:
        return Grid(length, policy.step * SECOND, policy.rows, start, end, offset)
    assert length is not None  # the policy guarantees it
    return Grid(length, length, None, start, end, offset)
