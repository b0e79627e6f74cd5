"""Sum the closed windows of a model version. Pure.

Sums are updated with each result, so a total over a year reads no results. Each window counts once,
by its newest result. Labels arrive late, so the newest window with labels may lie far before the
newest window: its start is stored too.
"""

from collections.abc import Callable, Iterable

import msgspec

from monitoring.results import PERFORMANCE, Result

_KNOWN: dict[str, Callable[[Result], bool]] = {
    "performance": lambda result: any(
        score.name in PERFORMANCE and score.of_whole and score.value is not None
        for score in result.scores
    ),
    "labels": lambda result: result.labelled > 0,
    "all labels": lambda result: result.rows > 0 and result.pending == 0,
    "segments": lambda result: any(score.segment for score in result.scores),
}


class ClosedTotals(msgspec.Struct, frozen=True):
    """All closed windows of one model version; rows = labelled + pending + expired."""

    windows: dict[str, int] = {}  # keyed by verdict
    rows: int = 0
    labelled: int = 0
    pending: int = 0
    expired: int = 0
    conflicting: int = 0
    newest: dict[str, int] = {}  # start of the newest known window


def add(closed: ClosedTotals, result: Result, before: Result | None) -> ClosedTotals:
    """Return the totals with a result, in place of the result `before` it of the same window."""
    added = _with(closed, result, 1)
    return added if before is None else _with(added, before, -1)


def add_up(results: Iterable[Result]) -> ClosedTotals:
    """Sum the newest results, one of each window."""
    closed = ClosedTotals()
    for result in results:
        closed = _with(closed, result, 1)
    return closed


def _with(closed: ClosedTotals, result: Result, times: int) -> ClosedTotals:
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
    reported = {what: start for what, is_known in _KNOWN.items() if is_known(result)}
    return starts | {what: max(starts.get(what, start), start) for what in reported}
