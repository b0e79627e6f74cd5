"""Sum the closed windows of a model version. Pure.

The sums are updated with each result, so totals over a year need no query of results. Each window
counts once, by its newest result. Labels arrive late, so the newest window with labels can be much
older than the newest window. The start of each is therefore stored, too.
"""

from collections.abc import Callable, Iterable

import msgspec

from monitoring.results import PERFORMANCE, Result

# Content of results: a function that returns whether a result has this content.
_HAS: dict[str, Callable[[Result], bool]] = {
    "performance": lambda result: any(
        score.name in PERFORMANCE and score.of_whole and score.value is not None
        for score in result.scores
    ),
    "labels": lambda result: result.labelled > 0,
    "all labels": lambda result: result.rows > 0 and result.pending == 0,
    "segments": lambda result: any(score.segment for score in result.scores),
}


class ClosedTotals(msgspec.Struct, frozen=True):
    """Sums over a version's closed windows; rows = labelled + pending + expired."""

    windows: dict[str, int] = {}  # verdict: number of windows
    rows: int = 0
    labelled: int = 0
    pending: int = 0
    expired: int = 0
    conflicting: int = 0
    newest: dict[str, int] = {}  # content (see _HAS): start of the newest window that has it


def add(closed: ClosedTotals, result: Result, before: Result | None) -> ClosedTotals:
    """Return the totals with a window's new result in place of its previous result `before`."""
    added = _added(closed, result, 1)
    return added if before is None else _added(added, before, -1)


def add_up(results: Iterable[Result]) -> ClosedTotals:
    """Sum results; there must be one result for each window."""
    closed = ClosedTotals()
    for result in results:
        closed = _added(closed, result, 1)
    return closed


def _added(closed: ClosedTotals, result: Result, times: int) -> ClosedTotals:
    """Return the totals with a result added (`times` is 1) or subtracted (-1)."""
    windows = {**closed.windows}
    windows[result.verdict] = windows.get(result.verdict, 0) + times
    return ClosedTotals(
        {verdict: count for verdict, count in sorted(windows.items()) if count},
        closed.rows + times * result.rows,
        closed.labelled + times * result.labelled,
        closed.pending + times * result.pending,
        closed.expired + times * result.expired,
        closed.conflicting + times * result.conflicting,
        closed.newest if times < 0 else _newest(closed.newest, result),
    )


def _newest(starts: dict[str, int], result: Result) -> dict[str, int]:
    start = result.window.start
    contents = [content for content, has in _HAS.items() if has(result)]
    return starts | {content: max(starts.get(content, start), start) for content in contents}
