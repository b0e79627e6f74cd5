"""The pages and the API of a model's history and of a prediction's trace."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.prediction_trace import PredictionTrace
from monitoring.presenter.trace_text import trace_sections
from monitoring.web.api import json_response
from monitoring.web.pages import page
from registry.history.rows import HistoryRow
from registry.history.sentences import describe_row, reasons_of
from registry.history.store import History

_ROWS_ON_ONE_PAGE = 200  # rows of a page
_LONGEST = 512  # characters of a prediction id


class RecordDesk:
    """The data sources of histories and traces."""

    def __init__(self, history: History, trace: Callable[[str], PredictionTrace]) -> None:
        """Read histories from `history`; `trace` traces a prediction id and can be slow."""
        self.history = history
        self.trace = trace
        self.searching = False  # one search at a time, to leave the disk to the monitor


class ShownRow(NamedTuple):
    """A row of the history, its change in words, and the reason for the change."""

    row: HistoryRow
    what: str
    why: str


def routes() -> list[Route]:
    """Return the routes of histories and traces."""
    history, prediction = "/models/{model}/history", "/predictions/{prediction_id}"
    return [
        Route(history, history_page),
        Route(f"/api{history}", history_rows),
        Route(prediction, trace_page),
        Route(f"/api{prediction}", trace_data),
    ]


async def history_page(request: Request) -> Response:
    """Show the history of a model, newest change first."""
    shown = shown_rows(await _rows(request))
    before = _before(request)
    older = [entry for entry in shown if before is None or entry.row.revision < before]
    model, latest = request.path_params["model"], older[-_ROWS_ON_ONE_PAGE:]
    earlier = latest[0].row.revision if len(older) > len(latest) else None
    return page(
        request, "history.html", model=model, rows=latest[::-1], earlier=earlier, total=len(shown)
    )


def shown_rows(rows: Sequence[HistoryRow]) -> list[ShownRow]:
    """Describe the rows of a history in words."""
    reasons = reasons_of(rows)
    return [ShownRow(row, describe_row(row), why) for row, why in zip(rows, reasons, strict=True)]


async def history_rows(request: Request) -> Response:
    """Return the history of a model, oldest change first."""
    return json_response(await _rows(request))


async def trace_page(request: Request) -> Response:
    """Show the trace of a prediction: its event, label, window and alarms."""
    trace = await _trace(request)
    return page(request, "trace.html", trace=trace, sections=trace_sections(trace))


async def trace_data(request: Request) -> Response:
    """Return the trace of a prediction."""
    return json_response(await _trace(request))


async def _rows(request: Request) -> Sequence[HistoryRow]:
    model: str = request.path_params["model"]
    rows = await asyncio.to_thread(_desk(request).history.rows, model)
    if not rows:
        raise HTTPException(404, f"the registry has no history of a model {model[:64]!r}")
    return rows


async def _trace(request: Request) -> PredictionTrace:
    desk, prediction_id = _desk(request), request.path_params["prediction_id"]
    if len(prediction_id) > _LONGEST or "\0" in prediction_id:
        raise HTTPException(400, f"expected a prediction id of 1 to {_LONGEST} characters")
    if desk.searching:
        raise HTTPException(503, "another prediction is being traced; try again in a moment")
    desk.searching = True
    try:
        trace = await asyncio.to_thread(desk.trace, prediction_id)
    finally:
        desk.searching = False
    if not trace.found:
        places = "; ".join(
            dict.fromkeys(trace.not_found[part] for part in ("event", "monitored rows"))
        )
        raise HTTPException(404, f"no prediction {prediction_id!r} found; searched {places}")
    return trace


def _before(request: Request) -> int | None:
    text = request.query_params.get("before", "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise HTTPException(400, f"before is {text[:40]!r}; expected a revision: a whole number")
    return int(text)


def _desk(request: Request) -> RecordDesk:
    desk: RecordDesk | None = request.app.state.records
    if desk is None:
        raise HTTPException(404, "this monitor has no registry")
    return desk
