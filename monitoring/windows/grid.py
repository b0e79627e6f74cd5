"""Decide where windows begin and end. Pure.

Windows tile event time. A window ends at a multiple of `length` since the Unix epoch, or, where
`rows` is stated, once it holds that many rows, whichever is first. It always ends with a pane, at a
multiple of `step`, so its rows do not depend on the order of arrival. `offset` shifts all
multiples. A pane is done once the watermark has passed its end by the grace. Without `rows`, a pane
is as long as a window. A grid holds for one policy period (policy_periods.py), and no window
crosses the border of a period.
"""

from collections.abc import Callable, Iterable

import msgspec

from monitoring.results import Window
from registry.manifest import WindowPolicy

SECOND = 1_000_000  # microseconds
END_OF_TIME = 1 << 62
LONGEST_GAP = 100  # windows without any event that are still shown one by one


class CountedSpan(msgspec.Struct, frozen=True):
    """A pane that no window has absorbed, or the window that is filling, with its row count."""

    window: Window
    rows: int


class Fill(msgspec.Struct, frozen=True):
    """Have this window absorb the next pane; it ends with that pane so far."""

    pane: Window
    window: Window


class Close(msgspec.Struct, frozen=True):
    """Close the window; one that absorbed no pane is empty."""

    window: Window


class Grid(msgspec.Struct, frozen=True):
    """The places where windows may begin and end, in microseconds."""

    length: int | None  # None: windows end by their rows alone
    step: int
    rows: int | None  # None: windows end by their length alone
    start: int = 0  # no window begins before
    end: int = END_OF_TIME  # nor ends later
    offset: int = 0  # since the Unix epoch, where a multiple of `length` and of `step` begins

    def pane(self, time: int) -> Window:
        """Return the pane that holds the event time."""
        pane = self._multiple(time, self.step)
        return Window(max(pane.start, self.start), min(pane.end, self.end))

    def latest_end(self, start: int) -> int:
        """Return the latest end of a window that begins here, however few rows it has."""
        if self.length is None:
            return self.end
        return min(self._multiple(start, self.length).end, self.end)

    def begin(self, pane: Window, closed_until: int) -> int:
        """Return the start of the window whose first pane with events is this."""
        if self.length is None:
            return max(closed_until, self.start) or pane.start
        return max(self._multiple(pane.start, self.length).start, closed_until, self.start)

    def is_full(self, filling: CountedSpan) -> bool:
        """Return whether the window absorbs no further pane."""
        enough = self.rows is not None and filling.rows >= self.rows
        return enough or filling.window.end >= self.latest_end(filling.window.start)

    def _multiple(self, time: int, size: int) -> Window:
        start = (time - self.offset) // size * size + self.offset
        return Window(start, start + size)


GridAt = Callable[[int], Grid]  # the grid at an event time


def due(
    at: GridAt,
    filling: CountedSpan | None,
    panes: Iterable[CountedSpan],
    closed_until: int,
    done: int,
) -> list[Fill | Close]:
    """Return the steps after all panes that end by `done`, in order; `panes` are in order.

    `closed_until` is where the pane ends that was taken in last; 0: none was.
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
    """Return the empty windows before the one that begins here; none if they are many."""
    missing: list[Window] = []
    while 0 < closed_until < begin and len(missing) <= LONGEST_GAP:
        window = Window(closed_until, at(closed_until).latest_end(closed_until))
        if at(closed_until).length is not None:  # windows that end by rows alone are never empty
            missing.append(window)
        closed_until = window.end
    return missing if len(missing) <= LONGEST_GAP else []


def grid(policy: WindowPolicy, start: int = 0, end: int = END_OF_TIME) -> Grid:
    """Return the grid that a policy states, from one event time to another."""
    length = None if policy.length is None else policy.length * SECOND
    offset = policy.offset * SECOND
    if policy.rows is not None:
        return Grid(length, policy.step * SECOND, policy.rows, start, end, offset)
    assert length is not None  # the policy guarantees it
    return Grid(length, length, None, start, end, offset)
