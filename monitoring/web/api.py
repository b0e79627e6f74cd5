"""The JSON API: the content of the pages, for programs."""

import asyncio
import io
import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec.structs import asdict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitoring.presenter.links import model_path
from monitoring.presenter.retrain_loop import RetrainLoop
from monitoring.presenter.schedule_text import ScheduleView
from monitoring.presenter.traffic_sentence import traffic_state
from monitoring.results import AlarmStep, Delivery, Result
from monitoring.scoring.lag import BEHIND, ScoringLag
from monitoring.web import policy_view
from monitoring.web.addresses import WHOLE_NUMBER
from monitoring.web.metrics.collector import exposition
from monitoring.web.overview import (
    as_data,
    event_balance,
    overview_rows,
    read_overview,
    worst_first,
)
from monitoring.web.policy_view import PolicyPeriodView
from monitoring.web.queries import Queries
from monitoring.web.retrain_loops import Retraining, RetrainLoops
from monitoring.web.sampled_inputs import sampled_inputs
from monitoring.windows.grid import END_OF_TIME
from registry.errors import RegistryError
from registry.pending_approvals import PendingApproval, PendingApprovals
from telemetry.clock import HOUR, now_us

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = re.compile(f"-?{WHOLE_NUMBER}")
MOST_RESULTS = 10_000  # results or days in one reply
PARQUET = "application/vnd.apache.parquet"


def routes() -> list[Route]:
    """Return the routes of the API, and /metrics and /health."""
    version = "/api/models/{model}/versions/{version}"
    return [
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/api/overview", overview),
        Route("/api/models", models),
        Route("/api/models/{model}/traffic", traffic),
        Route(f"{version}/results", results),
        Route(f"{version}/policies", policies),
        Route(f"{version}/batch", batch),
        Route(f"{version}/windows/{{start:whole}}", window),
        Route(f"{version}/windows/{{start:whole}}/rows.parquet", rows),
        Route(f"{version}/windows/{{start:whole}}/samples", samples),
        Route(f"{version}/windows/{{start:whole}}/samples/{{place:whole}}.png", picture),
        Route("/api/alarms", alarms),
        Route("/api/alarms/{alarm_id}/acknowledge", acknowledge, methods=["POST"]),
        Route("/api/alarms/{alarm_id}/resolve", resolve, methods=["POST"]),
        Route("/api/ledger", sources),
        Route("/api/deliveries", deliveries),
        Route("/api/retraining", retraining),
        Route("/api/schedules", schedules),
    ]


def store_of(request: Request) -> Queries:
    """Return the store that this application opened."""
    store: Queries = request.state.store
    return store


async def loops_of(request: Request) -> list[RetrainLoop]:
    """Return every retraining request with its outcome, newest first; empty without a registry."""
    loops: RetrainLoops | None = request.app.state.loops
    return await loops.read(store_of(request)) if loops is not None else []


async def schedules_of(request: Request) -> list[ScheduleView]:
    """Return every model's retraining schedule; empty without a registry."""
    loops: RetrainLoops | None = request.app.state.loops
    return await loops.read_schedules(store_of(request)) if loops is not None else []


def result_of(request: Request) -> Result:
    """Return the result of the window in the URL; raises HTTPException 404 if there is none."""
    model, version = request.path_params["model"], request.path_params["version"]
    result = store_of(request).result(model, version, request.path_params["start"])
    if result is None:
        raise HTTPException(
            404,
            f"{model} version {version} has no closed window that begins at "
            f"{request.path_params['start']}",
        )
    return result


def periods_of(request: Request) -> list[PolicyPeriodView]:
    """Return the policy periods of the version in the URL; empty if not registered here."""
    model, version = request.path_params["model"], request.path_params["version"]
    history = policy_view.policies(request.app.state.catalogue, model, version)
    return policy_view.period_views(history) if history else []


async def health(request: Request) -> Response:
    """Return whether scoring keeps up, and the number of windows that wait for scores."""
    lag: ScoringLag | None = request.app.state.scoring
    if lag is None:
        return json_response({"status": "ok"})
    behind = lag.age > BEHIND
    return json_response(
        {
            "status": "scoring is behind" if behind else "ok",
            "waiting_scores": lag.waiting,
            "oldest_waiting_score_seconds": round(lag.age, 1),
        }
    )


async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    return Response(
        exposition(
            store_of(request),
            request.app.state.progress,
            request.app.state.scoring,
            await asyncio.to_thread(_pending, request.app.state.pending),
            Retraining(await loops_of(request), await schedules_of(request)),
        ),
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )


def _pending(requests: PendingApprovals | None) -> list[PendingApproval]:
    """Return pending approvals; empty while the registry cannot be read."""
    try:
        return requests.read() if requests is not None else []
    except RegistryError:
        return []


async def models(request: Request) -> Response:
    """Return every model version with its latest window, worst first."""
    return json_response(
        [as_data(row) for row in overview_rows(store_of(request), request.app.state.catalogue)]
    )


async def overview(request: Request) -> Response:
    """Return the content of the status page and of `driftline status`."""
    return json_response(read_overview(store_of(request), request.app.state.catalogue).as_data())


async def results(request: Request) -> Response:
    """Return the `last` closed windows that begin before `before`, oldest first."""
    last, before = whole_number(request, "last"), whole_number(request, "before")
    if last is not None and last < 0:
        raise HTTPException(400, f"last is {last}; expected a number of windows, 0 or more")
    return json_response(
        store_of(request).results(
            request.path_params["model"],
            request.path_params["version"],
            last=MOST_RESULTS if last is None else min(last, MOST_RESULTS),
            before=END_OF_TIME if before is None else before,
        )
    )


def whole_number(request: Request, name: str) -> int | None:
    """Return a numeric query parameter; None if it is missing.

    Raises HTTPException 400 if it is not a number.
    """
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or abs(int(text)) > END_OF_TIME:
        raise HTTPException(400, f"{name} is {text[:40]!r}; expected a whole number")
    return int(text)


async def traffic(request: Request) -> Response:
    """Return a model's hourly requests, oldest first, and the newest judgement."""
    hours = store_of(request).traffic(request.path_params["model"])
    if hours.newest is None:
        raise HTTPException(404, "no hour of this model's requests has been judged yet")
    first = (hours.until - len(hours.requests)) * HOUR
    return json_response(
        {
            "version": hours.version,
            "first": first,
            "requests": hours.requests,
            "broken": [hour * HOUR for hour in hours.broken],
            "newest": hours.newest,
            "state": traffic_state(hours.newest),
        }
    )


async def batch(request: Request) -> Response:
    """Return the version's batch-scored rows by day, newest first."""
    model, version = request.path_params["model"], request.path_params["version"]
    days = store_of(request).batch_days(model, version, MOST_RESULTS)
    return json_response([{"start": start, **asdict(day)} for start, day in days.items()])


async def policies(request: Request) -> Response:
    """Return the version's policy periods, newest first."""
    return json_response(periods_of(request))


async def window(request: Request) -> Response:
    """Return one closed window."""
    return json_response(result_of(request))


async def rows(request: Request) -> Response:
    """Return the sampled rows of a window with their labels, as Parquet."""
    result = result_of(request)
    frame = store_of(request).rows(result.model, result.version, result.window, weighted=True)
    if frame.empty and result.sampled:
        raise HTTPException(410, "the rows of this window were deleted when its labels expired")
    buffer = io.BytesIO()
    typed(frame).to_parquet(buffer, index=False)
    return Response(buffer.getvalue(), media_type=PARQUET)


async def samples(request: Request) -> Response:
    """Return the sampled inputs of a window: texts, and the paths of pictures."""
    return json_response(sampled_inputs(store_of(request), result_of(request)))


async def picture(request: Request) -> Response:
    """Return the picture of a sampled input, by its index among the window's samples."""
    result = result_of(request)
    shown = store_of(request).samples(result.model, result.version, result.window)
    place = request.path_params["place"]
    if place >= len(shown) or shown[place].form != "png":
        raise HTTPException(404, f"the window has no picture {place}; see its samples in the API")
    return Response(shown[place].body, media_type="image/png")


async def retraining(request: Request) -> Response:
    """Return every retraining request with its outcome, newest first."""
    return json_response(await loops_of(request))


async def schedules(request: Request) -> Response:
    """Return every model's retraining schedule."""
    return json_response(await schedules_of(request))


async def alarms(request: Request) -> Response:
    """Return every alarm, worst first."""
    return json_response(worst_first(store_of(request).alarms()))


async def acknowledge(request: Request) -> Response:
    """Acknowledge a firing alarm; a browser is redirected to the version's page."""
    return _change_alarm(request, "acknowledged")


async def resolve(request: Request) -> Response:
    """Resolve an open alarm; a browser is redirected to the version's page."""
    return _change_alarm(request, "resolved")


def _change_alarm(request: Request, deed: Literal["acknowledged", "resolved"]) -> Response:
    alarm_id = request.path_params["alarm_id"]
    step = AlarmStep(now_us(), deed, getattr(request.state, "actor", ""))
    store = store_of(request)
    change = store.acknowledge if deed == "acknowledged" else store.resolve
    if not change(alarm_id, step):
        state = "firing" if deed == "acknowledged" else "open"
        raise HTTPException(
            404, f"no {state} alarm {alarm_id[:64]!r}; GET /api/alarms lists all alarms"
        )
    if "text/html" not in request.headers.get("accept", ""):
        return json_response({deed: alarm_id})
    paths = (
        model_path(alarm.model, alarm.version)
        for alarm in store.alarms()
        if alarm.alarm_id == alarm_id
    )
    return RedirectResponse(next(paths, "/"), status_code=303)


async def sources(request: Request) -> Response:
    """Return answered, logged and monitored events by source, event counters and partitions."""
    store = store_of(request)
    ledgers, now = store.ledger(), now_us()
    partitions = [
        {**msgspec.structs.asdict(partition), "held": partition.is_held(now)}
        for partition in store.partitions()
    ]
    balance = {"all": event_balance(ledgers), "sources": ledgers, "totals": store.totals()}
    return json_response({**balance, "partitions": partitions})


async def deliveries(request: Request) -> Response:
    """Return every webhook, newest first."""
    return json_response([_readable(delivery) for delivery in store_of(request).deliveries()])


def json_response(value: Any, status: int = 200) -> Response:
    """Return a JSON response with this value."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def typed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame with one type per column; columns of mixed types become text.

    Integer labels stay integers even if some labels are missing.
    """
    labels = list(frame.columns)[-1:]  # identified by position: a feature can have the same name
    mixed = {name for name in frame.columns if name in labels or frame[name].dtype == object}
    typed = {name: frame[name].convert_dtypes() for name in mixed}
    table = frame.copy(deep=False)
    for name, column in typed.items():
        table[name] = column.astype("string") if column.dtype == object else column
    return table


def _readable(delivery: Delivery) -> dict[str, Any]:
    fields = msgspec.structs.asdict(delivery)
    return {**fields, "body": msgspec.Raw(delivery.body)}
