"""Collect the training rows of a retraining request.

These are the sampled rows of every closed window in the request's period. A row's weight is the
inverse of its inclusion probability, so weighted sums estimate sums over all rows. For a label from
the review queue, the weight also includes the probability of its selection (`reviews/weights.py`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from monitoring.results import Result, RetrainRequest, Window
from registry.own_columns import own_name

if TYPE_CHECKING:
    import pandas as pd

WEIGHT = "weight"
WINDOW_START = "window_start"
MOST_ROWS = 1_000_000  # beyond it, older windows are left out
_PAGE = 200  # results read with one query


class TrainingWindow(msgspec.Struct, frozen=True):
    """One window of the training rows."""

    window: Window
    rows: int  # all rows of the window
    sampled: int  # rows among the training rows
    labelled: int  # rows among the training rows with a label


class TrainingRows(msgspec.Struct, frozen=True):
    """Training rows in the order of their windows."""

    frame: "pd.DataFrame"
    windows: list[TrainingWindow]
    weight: str  # name of the column of weights, prefixed by @ if a feature has this name
    window_start: str  # name of the column of window starts, prefixed in the same way
    label: str  # name of the label column
    left_out: int = 0  # number of older windows left out


class RowSource(Protocol):
    """The port to the monitor's store."""

    def results(
        self, model: str, version: str, *, last: int = ..., before: int = ...
    ) -> list[Result]:
        """Return the `last` closed windows that begin before a time, oldest first."""
        ...

    def rows(
        self, model: str, version: str, window: Window, *, weighted: bool = False
    ) -> "pd.DataFrame":
        """Return the sampled rows of a window; the last column contains the labels.

        `weighted`: include rows with only a review label, and a weight column before the labels.
        """
        ...


def training_rows(source: RowSource, request: RetrainRequest) -> TrainingRows | None:
    """Return the rows of a request's period; None if there are none or they have expired."""
    import pandas as pd  # noqa: PLC0415 - terminal commands do not need it

    period = request.period or request.window
    frames: list[pd.DataFrame] = []
    windows: list[TrainingWindow] = []
    left_out = total = 0
    for result in _newest_first(source, request, period) if period is not None else ():
        if total >= MOST_ROWS:
            left_out += 1
            continue
        stored = source.rows(request.model, request.version, result.window, weighted=True)
        frame = stored.copy(deep=False)
        if frame.empty:
            continue
        weights = _pop_weights(frame)
        columns = list(frame.columns)
        labelled = int(frame.iloc[:, -1].notna().sum())
        windows.append(TrainingWindow(result.window, result.rows, len(frame), labelled))
        frame.insert(0, own_name(WEIGHT, columns), result.rows * weights / weights.sum())
        frame.insert(0, own_name(WINDOW_START, columns), result.window.start)
        frames.append(frame)
        total += len(frame)
    if not frames:
        return None
    whole = pd.concat(frames[::-1], ignore_index=True)
    names: Sequence[str] = list(whole.columns)
    return TrainingRows(whole, windows[::-1], names[1], names[0], names[-1], left_out)


def _pop_weights(frame: "pd.DataFrame") -> "pd.Series[float]":
    """Remove and return the weight column of a reviewed window, or return 1 for each row.

    The weights are the column before the last. A feature named `weight` is never in this position.
    """
    import pandas as pd  # noqa: PLC0415 - terminal commands do not need it

    place = len(frame.columns) - 2
    if place < 0 or str(frame.columns[place]).lstrip("@") != WEIGHT:
        return pd.Series(1.0, index=frame.index)
    weights: pd.Series[float] = frame.pop(frame.columns[place])
    return weights


def _newest_first(source: RowSource, request: RetrainRequest, period: Window) -> "list[Result]":
    """Return the results of a period, newest first, read from the database in pages."""
    results: list[Result] = []
    before = period.end
    while page := source.results(request.model, request.version, last=_PAGE, before=before):
        results += [msgspec.structs.replace(result, scores=[]) for result in reversed(page)]
        before = page[0].window.start
        if before <= period.start:
            break
    return [result for result in results if period.start <= result.window.start]
