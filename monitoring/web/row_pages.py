"""Example rows of a window as a page, and as JSON, CSV and Parquet."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.results import Result
from monitoring.web.api import PARQUET, json_response, result_of, store_of, typed, whole_number
from monitoring.web.distributions import registered
from monitoring.web.example_rows import (
    CHOICES,
    IDENTIFIERS,
    AnswerColumns,
    Choice,
    as_cells,
    of_group,
)
from monitoring.web.pages import page
from registry.manifest import SegmentPolicy, Version

if TYPE_CHECKING:
    import pandas as pd

    from monitoring.scoring.segments.grouping import Grouping

ON_ONE_PAGE = 50  # rows
_TITLES: dict[Choice, str] = {
    "all": "All",
    "wrong": "Predicted wrongly",
    "uncertain": "Most uncertain first",
}
_LARGEST_ERRORS = "Largest errors first"


class ExampleRows(msgspec.Struct, frozen=True):
    """The rows of a window that the URL selects."""

    result: Result
    rows: "pd.DataFrame"
    answer: AnswerColumns
    choices: list[Choice]  # choices that the window's rows allow
    choice: Choice
    where: str  # COLUMN=VALUE to select a group; empty for all rows

    def query(self, **changed: object) -> str:
        """Return the query string of these rows' URL, with some parameters changed."""
        parameters = {"show": self.choice, "where": self.where} | changed
        defaults = {"show": "all", "where": "", "from": 0}
        return urlencode({k: v for k, v in parameters.items() if v != defaults[k]})

    def title(self, choice: Choice) -> str:
        """Return the title of a choice."""
        return _LARGEST_ERRORS if choice == "wrong" and self.answer.regression else _TITLES[choice]


def routes() -> list[Route]:
    """Return the routes of example rows."""
    window = "/api/models/{model}/versions/{version}/windows/{start:whole}/examples"
    return [
        Route("/models/{model}/{version}/windows/{start:whole}/rows", show),
        Route(window, as_json),
        Route(f"{window}.csv", as_csv),
        Route(f"{window}.parquet", as_parquet),
    ]


async def show(request: Request) -> Response:
    """Show example rows of a window as a table."""
    examples = _examples(request)
    total = len(examples.rows)
    first = min(max(whole_number(request, "from") or 0, 0), max(total - 1, 0))
    shown = examples.rows.iloc[first : first + ON_ONE_PAGE]
    identifying = list(shown.columns[:IDENTIFIERS])
    return page(
        request,
        "rows.html",
        result=examples.result,
        examples=examples,
        identifier=identifying[0],
        place=identifying[1],
        time=identifying[2],
        columns=_answer_first(list(shown.columns[IDENTIFIERS:]), examples.answer),
        numeric=list(shown.select_dtypes("number").columns),
        rows=as_cells(shown),
        first=first,
        total=total,
        on_one_page=ON_ONE_PAGE,
    )


async def as_json(request: Request) -> Response:
    """Return the sampled rows of a window with prediction id and time, as a list of objects."""
    return json_response(as_cells(_examples(request).rows))


async def as_csv(request: Request) -> Response:
    """Return the sampled rows of a window with prediction id and time, as CSV."""
    return _file(request, "text/csv", lambda rows, into: rows.to_csv(into, index=False))


async def as_parquet(request: Request) -> Response:
    """Return the sampled rows of a window with prediction id and time, as Parquet."""
    return _file(request, PARQUET, lambda rows, into: typed(rows).to_parquet(into, index=False))


def _file(
    request: Request, media_type: str, write: Callable[["pd.DataFrame", io.BytesIO], object]
) -> Response:
    buffer = io.BytesIO()
    write(_examples(request).rows, buffer)
    return Response(buffer.getvalue(), media_type=media_type)


def _examples(request: Request) -> ExampleRows:
    """Read the rows that the URL selects; raises HTTPException if the selection is invalid."""
    result = result_of(request)
    rows = store_of(request).examples(result.model, result.version, result.window)
    if rows.empty and result.sampled:
        raise HTTPException(410, "the rows of this window were deleted when its labels expired")
    version = registered(request.app.state.catalogue, result.model, result.version)
    answer = AnswerColumns.of(version.manifest if version else None)
    choices = answer.choices(rows)
    choice = _choice(request)
    chosen = answer.choose(rows, choice)
    where = request.query_params.get("where", "")
    if where:
        column, value = _condition(where, chosen)
        chosen = of_group(chosen, column, value, _segment(request, result, version, column))
    return ExampleRows(result, chosen, answer, choices, choice, where)


def _condition(where: str, rows: "pd.DataFrame") -> tuple[str, str]:
    """Split COLUMN=VALUE into column and value; column and value can contain `=`.

    Raises HTTPException 400 if no column of the rows matches.
    """
    parts = where.split("=")
    for count in range(1, len(parts)):
        column = "=".join(parts[:count])
        if column in rows:
            return column, "=".join(parts[count:])
    raise HTTPException(
        400, f"where is {where[:80]!r}; expected COLUMN=VALUE with a column of this window"
    )


def _segment(
    request: Request, result: Result, version: Version | None, column: str
) -> "Grouping | None":
    """Return a column's groups in the version's segment policy; None if it has no segment."""
    declared = version.manifest.monitoring.segments if version else []
    segments = map(SegmentPolicy.of, declared)
    segment = next((segment for segment in segments if segment.column == column), None)
    if segment is None:
        return None
    from monitoring.scoring.segments import grouping  # noqa: PLC0415 - pandas is slow to import

    baseline = request.app.state.references.of(result.model, result.version)
    groups = grouping.grouping(baseline, segment) if baseline else ""
    return None if isinstance(groups, str) else groups


def _choice(request: Request) -> Choice:
    text = request.query_params.get("show", "all")
    for choice in CHOICES:
        if choice == text:
            return choice
    raise HTTPException(400, f"show is {text[:40]!r}; expected one of {', '.join(CHOICES)}")


def _answer_first(columns: list[str], answer: AnswerColumns) -> list[str]:
    """Order columns for display: prediction, label, probabilities, then the features."""
    first = [answer.prediction, *columns[-1:], *answer.probabilities]
    return list(dict.fromkeys(name for name in [*first, *columns] if name in columns))
