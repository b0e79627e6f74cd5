"""The rows on which the answer to a retraining request can be trained.

They are the sampled rows of every closed window of the request's period, each with the inverse of
its inclusion probability as weight, so that weighted sums estimate those of all rows. Labels of the
review queue weigh by the probability of their pick, too (`reviews/weights.py`).
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
MOST_ROWS = 1_000_000  # maximum rows, taken from the newest windows
_PAGE = 200  # results read at once


class TrainingWindow(msgspec.Struct, frozen=True):
    """One window of the training rows: its total rows and the included ones."""

    window: Window
    rows: int
    sampled: int
    labelled: int  # sampled rows with a label


class TrainingRows(msgspec.Struct, frozen=True):
    """Rows in the order of their windows, and the names of the columns that are not features."""

    frame: "pd.DataFrame"
    windows: list[TrainingWindow]
    weight: str  # names of columns; with @ before them where a feature has the name
    window_start: str
    label: str
    left_out: int = 0  # older windows, beyond MOST_ROWS


class RowSource(Protocol):
    """The part of the monitor's store that is read."""

    def results(
        self, model: str, version: str, *, last: int = ..., before: int = ...
    ) -> list[Result]:
        """Return the `last` closed windows that begin before a time, oldest first."""
        ...

    def rows(
        self, model: str, version: str, window: Window, *, weighted: bool = False
    ) -> "pd.DataFrame":
        """Return the sampled rows of a window; the last column holds the labels.

        `weighted`: with the rows that people labelled, and a column of weights before the last.
        """
        ...


def training_rows(source: RowSource, request: RetrainRequest) -> TrainingRows | None:
    """Collect the rows of a request's period; None if it has none, or retention deleted them."""
    import pandas as pd  # noqa: PLC0415 - terminal commands do not need it

    period = request.period or request.window
    frames: list[pd.DataFrame] = []
    windows: list[TrainingWindow] = []
    left_out = total = 0
    for result in _newest_first(source, request, period) if period is not None else ():
        if total >= MOST_ROWS:
            left_out += 1
            continue
        read = source.rows(request.model, request.version, result.window, weighted=True)
        frame = read.copy(deep=False)
        if frame.empty:
            continue
        own = _pop_weights(frame)
        columns = list(frame.columns)
        labelled = int(frame.iloc[:, -1].notna().sum())
        windows.append(TrainingWindow(result.window, result.rows, len(frame), labelled))
        frame.insert(0, own_name(WEIGHT, columns), result.rows * own / own.sum())
        frame.insert(0, own_name(WINDOW_START, columns), result.window.start)
        frames.append(frame)
        total += len(frame)
    if not frames:
        return None
    whole = pd.concat(frames[::-1], ignore_index=True)
    names: Sequence[str] = list(whole.columns)
    return TrainingRows(whole, windows[::-1], names[1], names[0], names[-1], left_out)


def _pop_weights(frame: "pd.DataFrame") -> "pd.Series[float]":
    """Remove the weights of a window that people labelled, and return them; others have 1 each.

    A feature of that name stands before the prediction, and so never at this place.
    """
    import pandas as pd  # noqa: PLC0415 - terminal commands do not need it

    place = len(frame.columns) - 2
    if place < 0 or str(frame.columns[place]).lstrip("@") != WEIGHT:
        return pd.Series(1.0, index=frame.index)
    weights: pd.Series[float] = frame.pop(frame.columns[place])
    return weights


def _newest_first(source: RowSource, request: RetrainRequest, period: Window) -> "list[Result]":
    """Return the windows of a period, newest first; the database is read in pages."""
    results: list[Result] = []
    before = period.end
    while page := source.results(request.model, request.version, last=_PAGE, before=before):
        results += [msgspec.structs.replace(result, scores=[]) for result in reversed(page)]
        before = page[0].window.start
        if before <= period.start:
            break
    return [result for result in results if period.start <= result.window.start]
