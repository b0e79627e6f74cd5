"""The page that compares two windows, or two periods, of a model version."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.presenter.formats import figure, iso_day, percent, period
from monitoring.presenter.names import PERFORMANCE
from monitoring.results import ESTIMATED, Result, Score
from monitoring.web import window_view
from monitoring.web.api import store_of, whole_number
from monitoring.web.distributions import Distribution, Rows, distributions
from monitoring.web.pages import ON_ONE_PAGE, baseline_of, page
from monitoring.web.periods import DayRange, merge_results, verdicts_in_words, within
from monitoring.web.window_view import ColumnView

if TYPE_CHECKING:
    import pandas as pd

MOST_WINDOWS = 400  # windows of a period
# Titles and formats of the compared window-level scores.
_WINDOW_SCORES: dict[str, tuple[str, Callable[[float | None], str]]] = {
    **{name: (title, figure) for name, title in PERFORMANCE.items()},
    **{
        ESTIMATED + name: (f"{title}, estimated without labels", figure)
        for name, title in PERFORMANCE.items()
    },
    "drifted_share": ("Features drifted", percent),
    "error_share": ("Errors", percent),
    "duplicate_share": ("Duplicate rows", percent),
}


class ScorePair(msgspec.Struct, frozen=True):
    """One score in two windows."""

    title: str
    write: Callable[[float | None], str]  # formats a value
    first: Score | None
    second: Score | None

    @property
    def difference(self) -> float | None:
        """The second value minus the first; None if either is missing."""
        values = [score.value if score else None for score in (self.first, self.second)]
        first, second = values
        return None if first is None or second is None else second - first

    @property
    def change(self) -> str:
        """The difference as text; for shares, in percentage points."""
        if self.difference is None or self.write is not percent:
            return figure(self.difference)
        return f"{100 * self.difference:+.1f} points"

    @property
    def intervals_apart(self) -> bool:
        """Whether both scores have confidence intervals that do not overlap."""
        ends = [(score.low, score.high) if score else (None, None)
                for score in (self.first, self.second)]  # fmt: skip
        (low_1, high_1), (low_2, high_2) = ends
        if low_1 is None or high_1 is None or low_2 is None or high_2 is None:
            return False
        return high_1 < low_2 or high_2 < low_1


class ColumnPair(msgspec.Struct, frozen=True):
    """One column in two windows."""

    name: str
    first: ColumnView | None
    second: ColumnView | None


def routes() -> list[Route]:
    """Return the route of the page."""
    return [Route("/models/{model}/{version}/compare", compare)]


async def compare(request: Request) -> Response:
    """Compare the windows `window` and `against`, or two periods of days.

    By default, compare the latest window with the window before it.
    """
    model, version = request.path_params["model"], request.path_params["version"]
    latest = store_of(request).results(model, version, last=ON_ONE_PAGE)
    if not latest:
        raise HTTPException(404, f"{model[:64]} version {version[:64]} has no closed window")
    periods = _periods(request)
    if periods is None:
        second = _window(request, "window") or latest[-1]
        first = _window(request, "against") or _neighbour(request, second)
        parts = ([first], [second])
    else:
        parts = (_windows_of(request, periods[0]), _windows_of(request, periods[1]))
        first, second = merge_results(parts[0]), merge_results(parts[1])
    columns = column_pairs(first, second)
    windows = {result.window.start: result for result in [*latest, *parts[0], *parts[1]]}
    return page(
        request,
        "compare_windows.html",
        model=model,
        version=version,
        first=first,
        second=second,
        windows=[windows[start] for start in sorted(windows, reverse=True)],
        scores=score_pairs(first, second),
        columns=columns,
        distributions=_distributions(request, parts, [pair.name for pair in columns]),
        periods=periods,
        days=[iso_day(latest[0].window.start), iso_day(latest[-1].window.end)],
        verdicts=[verdicts_in_words(part) for part in parts],
    )


def score_pairs(first: Result, second: Result) -> list[ScorePair]:
    """Return every window-level score that either window has."""
    pairs = [
        ScorePair(title, write, window_view.find(first, name), window_view.find(second, name))
        for name, (title, write) in _WINDOW_SCORES.items()
    ]
    return [pair for pair in pairs if pair.first or pair.second]


def column_pairs(first: Result, second: Result) -> list[ColumnPair]:
    """Return every column with scores in either window, in the second window's order."""
    before = {view.name: view for view in window_view.columns(first)}
    after = {view.name: view for view in window_view.columns(second)}
    return [ColumnPair(name, before.get(name), after.get(name)) for name in after | before]


def _window(request: Request, name: str) -> Result | None:
    """Return the window that a query parameter names; None if the parameter is missing.

    Raises HTTPException 404 if the window does not exist.
    """
    start = whole_number(request, name)
    if start is None:
        return None
    model, version = request.path_params["model"], request.path_params["version"]
    result = store_of(request).result(model, version, start)
    if result is None:
        raise HTTPException(
            404,
            f"{name} is {start}: {model[:64]} version {version[:64]} has no closed window that "
            "begins at this time",
        )
    return result


def _periods(request: Request) -> tuple[DayRange, DayRange] | None:
    """Return the URL's two periods, first the one to compare against; None without periods."""
    names = ("against_from", "against_to", "from", "to")
    days = [request.query_params.get(name, "") for name in names]
    if not any(days):
        return None
    if missing := [name for name, day in zip(names, days, strict=True) if not day]:
        raise HTTPException(
            400, f"{missing[0]} is missing; a comparison of periods needs {', '.join(names)}"
        )
    return DayRange(days[0], days[1]), DayRange(days[2], days[3])


def _windows_of(request: Request, period: DayRange) -> list[Result]:
    """Return the windows of a period; raises HTTPException if there are none or too many."""
    model, version = request.path_params["model"], request.path_params["version"]
    try:
        span = period.window
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    latest = store_of(request).results(model, version, last=MOST_WINDOWS + 1, before=span.end)
    results = within(latest, span)
    if not results:
        raise HTTPException(
            404, f"no window of {model[:64]} begins between {period.first} and {period.last}"
        )
    if len(results) > MOST_WINDOWS:
        raise HTTPException(
            400, f"a period can have at most {MOST_WINDOWS} windows; choose a shorter period"
        )
    return results


def _neighbour(request: Request, result: Result) -> Result:
    """Return the window before this one; for the first window, the window after it."""
    store, pair = store_of(request), (result.model, result.version)
    before, after = store.neighbours(*pair, result.window.start)
    start = after if before is None else before
    other = None if start is None else store.result(*pair, start)
    if other is None:
        raise HTTPException(
            404, f"{pair[0]} version {pair[1]} has only one closed window; a comparison needs two"
        )
    return other


def _distributions(
    request: Request, parts: tuple[list[Result], list[Result]], order: list[str]
) -> list[Distribution] | str:
    """Compare the columns of the second part with the first; return the reason if impossible."""
    baseline = baseline_of(request, parts[1][-1])
    if baseline is None:
        return "the version is not registered here, or its reference cannot be read"
    rows = [
        Rows(_sampled(request, part), f"in {period(merge_results(part).window)}") for part in parts
    ]
    empty = [part.origin for part in rows if part.frame.empty]
    if empty:
        return f"no sampled rows are left {' and '.join(empty)}"
    return distributions(baseline, rows[1], order, against=rows[0])


def _sampled(request: Request, part: list[Result]) -> "pd.DataFrame":
    """Return the sampled rows of these windows."""
    import pandas as pd  # noqa: PLC0415 - slow to import; most pages do not need it

    store = store_of(request)
    frames = (store.rows(result.model, result.version, result.window) for result in part)
    filled = [frame for frame in frames if not frame.empty]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
