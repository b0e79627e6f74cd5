"""Combine the windows of a period into one result, to compare periods. Pure.

Counts are sums. A score is the mean over the windows that have it, weighted by rows, or by labelled
rows for performance scores. It has no confidence interval, because the windows' intervals cannot be
combined.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from monitoring.presenter.names import PERFORMANCE
from monitoring.results import Result, Score, Window
from telemetry.clock import DAY


class DayRange(msgspec.Struct, frozen=True):
    """The first and the last day of a period in UTC, as in the URL; both are included."""

    first: str  # such as 2013-06-01
    last: str

    @property
    def window(self) -> Window:
        """The period as times; raises ValueError for invalid or reversed days."""
        window = Window(_start(self.first), _start(self.last) + DAY)
        if window.end <= window.start:
            raise ValueError(f"{self.last} is before {self.first}")
        return window


def within(results: Sequence[Result], window: Window) -> list[Result]:
    """Return the windows that begin in a period."""
    return [result for result in results if window.start <= result.window.start < window.end]


def merge_results(results: Sequence[Result]) -> Result:
    """Return a version's windows, given oldest first, as one result."""
    first, last = results[0], results[-1]
    subjects: dict[tuple[str, str, str], list[tuple[Result, Score]]] = {}
    for result in results:
        for score in result.scores:
            if not score.segment:
                subjects.setdefault(score.about, []).append((result, score))
    events: Counter[str] = Counter()
    for result in results:
        events.update(result.events)
    return Result(
        model=first.model,
        version=first.version,
        window=Window(first.window.start, last.window.end),
        events=dict(events),
        rows=sum(result.rows for result in results),
        sampled=sum(result.sampled for result in results),
        labelled=sum(result.labelled for result in results),
        pending=sum(result.pending for result in results),
        expired=sum(result.expired for result in results),
        scores=[_mean(parts) for parts in subjects.values()],
    )


def verdicts_in_words(results: Sequence[Result]) -> str:
    """Return the number of windows per verdict as text, the most frequent verdict first."""
    counts = Counter(result.verdict for result in results)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


def _mean(parts: Sequence[tuple[Result, Score]]) -> Score:
    """Return the mean of a score; it has a threshold only if all windows share the threshold."""
    latest = parts[-1][1]
    measured = [
        (result.labelled if score.name in PERFORMANCE else result.rows, score)
        for result, score in parts
        if score.value is not None and math.isfinite(score.value)
    ]
    weight = sum(rows for rows, _ in measured)
    value = (
        sum(rows * score.value for rows, score in measured if score.value is not None) / weight
        if weight
        else None
    )
    thresholds = {score.threshold for _, score in parts}
    breached = sum(score.breached for _, score in measured)
    return Score(
        name=latest.name,
        column=latest.column,
        method=latest.method,
        value=value,
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        breached=2 * breached > len(measured),
        note=f"in {breached} of {len(measured)} windows" if breached else "",
    )


def _start(day: str) -> int:
    try:
        moment = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{day[:20]!r}: expected a day such as 2013-06-30") from None
    return int(moment.timestamp()) * 1_000_000
