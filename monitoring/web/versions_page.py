"""The page of a model: its versions, alarms, retraining and latest changes."""

import asyncio
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.results import Window
from monitoring.web.api import loops_of, schedules_of, store_of
from monitoring.web.notes import notes_on_alarms
from monitoring.web.overview import VersionRow, event_balance, headline, overview_rows, worst_first
from monitoring.web.pages import page
from monitoring.web.records import RecordDesk, ShownRow, shown_rows
from monitoring.web.retrain_loops import LATEST
from monitoring.web.traffic_share import RequestShares, request_shares

_LATEST_CHANGES = 8  # rows of the model's history


def routes() -> list[Route]:
    """Return the route of the page."""
    return [Route("/models/{model}", versions)]


async def versions(request: Request) -> Response:
    """Show every version of a model, worst first."""
    model = request.path_params["model"]
    store, catalogue = store_of(request), request.app.state.catalogue
    rows = overview_rows(store, catalogue, only=model)
    if not rows:
        raise HTTPException(404, f"model {model[:64]!r} is neither registered here nor monitored")
    window, shares = _newest_shares(rows)
    alarms = worst_first(alarm for row in rows for alarm in row.alarms)
    return page(
        request,
        "versions.html",
        model=model,
        rows=rows,
        headline=headline(rows, event_balance([]), []),
        alarms=alarms,
        alarm_notes=notes_on_alarms(request, alarms),
        shares=shares,
        shares_window=window,
        traffic=store.traffic(model).newest,
        comparisons=request.app.state.comparisons.of_model(model),
        loops=[loop for loop in await loops_of(request) if loop.model == model][:LATEST],
        schedules=[plan for plan in await schedules_of(request) if plan.model == model],
        changes=await _latest_changes(request, model),
    )


def _newest_shares(rows: Sequence[VersionRow]) -> tuple[Window | None, RequestShares]:
    """Return the newest window, and each version's share of the window's requests."""
    windows = [window for row in rows for window in (row.latest, row.filling) if window]
    shares = {window: shares for (_, window), shares in request_shares(windows).items()}
    newest = max(shares, key=lambda window: window.start, default=None)
    return newest, {} if newest is None else shares[newest]


async def _latest_changes(request: Request, model: str) -> list[ShownRow]:
    """Return the newest rows of a model's history; empty without a registry."""
    desk: RecordDesk | None = request.app.state.records
    if desk is None:
        return []
    rows = await asyncio.to_thread(desk.history.rows, model)
    return shown_rows(rows)[-_LATEST_CHANGES:][::-1]
