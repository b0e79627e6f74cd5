"""A helper that closes windows as time advances, without a consumer."""

from collections.abc import Iterable

from monitoring.results import Window
from monitoring.windows.grid import CountedSpan, Fill, GridAt, next_steps

Closed = list[tuple[Window, int]]


def watch(
    at: GridAt, times: Iterable[int], marks: Iterable[int]
) -> tuple[Closed, CountedSpan | None, dict[Window, int]]:
    """Check the windows at every mark, up to which panes are complete.

    Return the closed windows with their rows, the filling window, and the incomplete panes.
    """
    panes: dict[Window, int] = {}
    filling, closed_until = None, 0
    closed: Closed = []
    for time in times:
        pane = at(time).pane(time)
        panes[pane] = panes.get(pane, 0) + 1
    for mark in sorted(marks):
        parts = [CountedSpan(pane, panes[pane]) for pane in sorted(panes)]
        for step in next_steps(at, filling, parts, closed_until, mark):
            if isinstance(step, Fill):
                before = 0 if filling is None else filling.rows
                filling = CountedSpan(step.window, before + panes.pop(step.pane))
            else:
                closed.append((step.window, 0 if filling is None else filling.rows))
                filling = None
            closed_until = step.window.end
    return closed, filling, panes
