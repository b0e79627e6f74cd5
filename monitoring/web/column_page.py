"""The page that shows one column of a model version over time."""

from collections.abc import Sequence
from difflib import get_close_matches

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.results import Result
from monitoring.web import window_view
from monitoring.web.api import store_of, whole_number
from monitoring.web.charts.column_charts import column_charts
from monitoring.web.charts.version_charts import timeline
from monitoring.web.notes import notes_on_alarms
from monitoring.web.overview import worst_first
from monitoring.web.pages import ON_ONE_PAGE, page
from monitoring.web.window_view import ColumnView
from monitoring.windows.grid import END_OF_TIME

_MOST_LISTED = 12  # columns in an error message


def routes() -> list[Route]:
    """Return the route of the page; a column's name can contain slashes."""
    return [Route("/models/{model}/{version}/columns/{column:path}", column)]


async def column(request: Request) -> Response:
    """Show the scores of a column in the latest windows, or in the windows before `until`."""
    model, version, name = (request.path_params[part] for part in ("model", "version", "column"))
    store = store_of(request)
    until = whole_number(request, "until")
    before = END_OF_TIME if until is None else until
    shown = store.results(model, version, last=ON_ONE_PAGE, before=before)
    views = [_view(result, name) for result in shown]
    if not any(views):
        latest = store.results(model, version, last=ON_ONE_PAGE) if until is not None else shown
        _require_scored(latest, model, version, name)
    alarms = worst_first(
        alarm
        for alarm in store.alarms()
        if (alarm.model, alarm.version) == (model, version) and name in alarm.columns
    )
    first = shown[0].window.start if shown else 0
    return page(
        request,
        "column.html",
        model=model,
        version=version,
        column=name,
        charts=column_charts(timeline(shown, alarms), name),
        windows=[*reversed(list(zip(shown, views, strict=True)))],
        alarms=alarms,
        alarm_notes=notes_on_alarms(request, alarms),
        earlier=first if store.neighbours(model, version, first)[0] is not None else None,
        later=until is not None,
    )


def _view(result: Result, name: str) -> ColumnView | None:
    return next((view for view in window_view.columns(result) if view.name == name), None)


def _require_scored(results: Sequence[Result], model: str, version: str, name: str) -> None:
    """Raise HTTPException 404, which lists the scored columns, if `name` has no score."""
    names = {score.column for result in results for score in result.scores if score.column}
    if name in names:
        return
    nearest = get_close_matches(name, names, 3)
    rest = sorted(names.difference(nearest))
    listed = ", ".join([*nearest, *rest][:_MOST_LISTED]) or "none"
    raise HTTPException(
        404,
        f"no window of {model[:64]} version {version[:64]} has a score of column {name[:64]!r}; "
        f"scored columns: {listed}",
    )
