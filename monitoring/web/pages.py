"""The HTML pages of the overview, of versions and of windows, and the rendering of all pages."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.errors import DatabaseUnavailable
from monitoring.presenter import comparison_text, formats, links
from monitoring.presenter.alarm_sentence import alarm_text
from monitoring.presenter.batch_text import batch_rows
from monitoring.presenter.headline import alarm_badge, versioned_alarm, without_closed_window
from monitoring.presenter.performance_state import performance_state
from monitoring.presenter.retrain_loop import loop_wait
from monitoring.presenter.schedule_text import schedule_text
from monitoring.presenter.shadow_sentences import shadow_lines, shadow_sentence
from monitoring.presenter.traffic_sentence import traffic_sentence, traffic_state
from monitoring.results import REFERENCE_ROWS, Alarm, Delivery, Result, RetrainRequest, Window
from monitoring.web import window_view
from monitoring.web.api import (
    json_response,
    loops_of,
    periods_of,
    result_of,
    schedules_of,
    store_of,
    whole_number,
)
from monitoring.web.charts import glyphs, version_charts
from monitoring.web.charts.bars import bars
from monitoring.web.distributions import (
    Distribution,
    References,
    Rows,
    distributions,
    registered,
)
from monitoring.web.notes import notes_by_window, notes_on_alarms, notes_on_window
from monitoring.web.overview import (
    VersionRow,
    event_balance,
    headline,
    read_overview,
    row_of,
    worst_first,
)
from monitoring.web.overview_choice import VERDICTS, OverviewChoice
from monitoring.web.periods import DayRange, within
from monitoring.web.policy_view import period_of
from monitoring.web.queries import Queries
from monitoring.web.report_files import locate
from monitoring.web.retrain_loops import LATEST
from monitoring.web.rollouts import alias_panels
from monitoring.web.sampled_inputs import sampled_inputs
from monitoring.web.segment_tables import GAPS, segment_tables
from monitoring.web.silences import active_silences
from monitoring.web.time_zone import PARAMETER, zone_name
from monitoring.web.traffic_share import RequestShares, request_shares
from monitoring.webhooks.body import AlarmNotice, read_request
from monitoring.windows.grid import END_OF_TIME
from registry.errors import RegistryUnavailable
from registry.features import expects_labels
from telemetry.clock import DAY, now_us

if TYPE_CHECKING:
    from monitoring.scoring.reference import Baseline

BATCH_DAYS = 14  # days of batch-scored rows on a version's page
ON_ONE_PAGE = 60  # windows on a version's page
SHOWN_AT_FIRST = 12  # windows in a table; the other windows are folded
LATEST_DELIVERIES = 8  # webhooks on the overview
ROWS_ON_ONE_PAGE = 200  # rows on one page of the overview


def routes() -> list[Route]:
    """Return the routes of the pages."""
    version = "/models/{model}/{version}"
    return [
        Route("/", overview),
        Route(version, model),
        Route(f"{version}/windows/{{start:whole}}", window),
    ]


async def overview(request: Request) -> Response:
    """Show every model version, worst first."""
    store = store_of(request)
    summary = read_overview(store, request.app.state.catalogue)
    choice = _choice(request)
    shown = choice.choose(summary.rows)
    first = min(max(whole_number(request, "from") or 0, 0), max(len(shown) - 1, 0))
    return page(
        request,
        "overview.html",
        headline=summary.headline,
        rows=shown[first : first + ROWS_ON_ONE_PAGE],
        first=first,
        version_count=len(shown),
        rows_on_one_page=ROWS_ON_ONE_PAGE,
        choice=choice,
        verdicts=choice.counts(summary.rows),
        with_alarms=sum(bool(row.alarms) for row in choice.matching(summary.rows)),
        matching=len(choice.matching(summary.rows)),
        tags=choice.tags(summary.rows),
        owners=choice.owners(summary.rows),
        any_rows=bool(summary.rows),
        alarms=summary.alarms,
        alarm_notes=notes_on_alarms(request, summary.alarms),
        ledger=summary.ledger,
        sources=store.ledger(),
        partitions=store.partitions(),
        now=now_us(),
        totals=sorted(store.totals().items()),
        deliveries=[
            _delivery_item(delivery) for delivery in store.deliveries()[:LATEST_DELIVERIES]
        ],
        loops=(await loops_of(request))[:LATEST],
        schedules=await schedules_of(request),
        stopped=summary.stopped,
    )


async def model(request: Request) -> Response:
    """Show one model version over time."""
    store = store_of(request)
    row = _row_of(request)
    span, until = _span(request), whole_number(request, "until")
    before = span.end if span else END_OF_TIME if until is None else until
    shown = store.results(row.model, row.version, last=ON_ONE_PAGE, before=before)
    if span:
        shown = within(shown, span)
        if not shown:
            raise HTTPException(404, f"no window of {row.model} begins on these days")
    first = shown[0].window.start if shown else 0
    alarms = worst_first(
        a for a in store.alarms() if (a.model, a.version) == (row.model, row.version)
    )
    line = version_charts.timeline(shown, alarms)
    deliveries = [
        item
        for delivery in store.deliveries()
        if (item := _delivery_item(delivery))["about"] == (row.model, row.version)
    ]
    return page(
        request,
        "model.html",
        row=row,
        headline=headline([row], event_balance([]), []),
        drift_map=version_charts.drift_map(line),
        drifted_share=version_charts.drifted_share(line),
        performance=version_charts.performance(line),
        volume=version_charts.volume(line),
        windows=list(reversed(shown)),
        earlier=first if store.neighbours(row.model, row.version, first)[0] else None,
        later=until is not None or span is not None,
        span=span,
        alarms=alarms,
        alarm_notes=notes_on_alarms(request, alarms),
        window_notes=notes_by_window(request, row.model, row.version),
        deliveries=deliveries,
        loops=[
            loop
            for loop in await loops_of(request)
            if (loop.model, loop.version) == (row.model, row.version)
        ],
        schedules=[
            schedule for schedule in await schedules_of(request) if schedule.model == row.model
        ],
        batches=batch_rows(store.batch_days(row.model, row.version, BATCH_DAYS)),
        periods=periods_of(request),
        traffic=store.traffic(row.model).newest,
        silences=active_silences(store, row.model, row.version),
        rollouts=await asyncio.to_thread(alias_panels, request, row.model, row.version),
        shadows=request.app.state.shadows() if row.shadow else None,
        comparisons=[
            comparison
            for comparison in request.app.state.comparisons.of_model(row.model)
            if row.version in {comparison.first, comparison.second}
        ],
    )


async def window(request: Request) -> Response:
    """Show one window in detail."""
    result = result_of(request)
    store = store_of(request)
    before, after = store.neighbours(result.model, result.version, result.window.start)
    columns = window_view.columns(result)
    return page(
        request,
        "window.html",
        result=result,
        columns=columns,
        distributions=_distributions(request, result, [column.name for column in columns]),
        sampled_inputs=sampled_inputs(store, result),
        segments=segment_tables(result),
        labels=_expects_labels(request, result),
        policy_period=period_of(periods_of(request), result.window.start)
        if result.policy
        else None,
        versions=_request_shares(store, result),
        late=store.late(result.model, result.version, result.window),
        before=before,
        after=after,
        notes=notes_on_window(request, result),
    )


async def problem(request: Request, error: Exception) -> Response:
    """Return an error as JSON for the API, else as a page."""
    status, detail = 500, "the page could not be created; the monitor's log has the reason"
    if isinstance(error, HTTPException):
        status, detail = error.status_code, error.detail
    elif isinstance(error, DatabaseUnavailable):
        status, detail = 503, "the monitor's database cannot be reached; try again in a moment"
    elif isinstance(error, RegistryUnavailable):
        status, detail = 503, "the registry cannot be read; try again in a moment"
    if request.url.path.startswith(("/api/", "/v1/")):
        return json_response({"error": detail}, status)
    return page(request, "problem.html", status=status, detail=detail)


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Render a template; reply 304 if the browser already has the same page."""
    reports: Path = request.app.state.reports
    query = [entry for entry in request.query_params.multi_items() if entry[0] != PARAMETER]
    common = {  # variables of every template
        "status": status,
        "query": query,
        "has_report": lambda name: name and locate(reports, name) is not None,
    }
    html = _TEMPLATES.get_template(template).render(context | common).encode()
    tag = f'"{hashlib.sha256(html).hexdigest()[:32]}"'
    if status == 200 and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(html, status, media_type="text/html", headers={"etag": tag})


def _choice(request: Request) -> OverviewChoice:
    """Parse the filters in the URL; raises HTTPException 400 for an unknown value."""
    query = request.query_params
    allowed = {"verdict": VERDICTS, "alarms": ("1",)}
    for name, values in allowed.items():
        if query.get(name) and query[name] not in values:
            expected = " or ".join(values)
            raise HTTPException(400, f"{name} is {query[name][:40]!r}; expected {expected}")
    return OverviewChoice(
        q=query.get("q", "").strip(),
        verdict=query.get("verdict", ""),
        alarms=query.get("alarms", ""),
        tag=query.get("tag", ""),
        owner=query.get("owner", ""),
        sort=query.get("sort", ""),
    )


def _span(request: Request) -> Window | None:
    """Return the days chosen in the URL; None if no days are chosen. Raises HTTPException 400."""
    first, last = (request.query_params.get(name, "") for name in ("from", "to"))
    if not first and not last:
        return None
    try:
        return DayRange(first, last).window
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def baseline_of(request: Request, result: Result) -> "Baseline | None":
    """Return the reference or learned baseline of a window; None if it cannot be read here."""
    # The method of this score is the digest of a learned baseline; empty for a reference.
    score = window_view.find(result, REFERENCE_ROWS)
    references: References = request.app.state.references
    return references.of(result.model, result.version, score.method if score else "")


def _row_of(request: Request) -> VersionRow:
    pair = (request.path_params["model"], request.path_params["version"])
    row = row_of(store_of(request), request.app.state.catalogue, pair)
    if row is None:
        raise HTTPException(
            404, f"version {pair[1]} of model {pair[0]} is neither registered here nor monitored"
        )
    return row


def _distributions(request: Request, result: Result, order: Sequence[str]) -> list[Distribution]:
    """Compare the window's columns with the reference; empty if either has no rows any more."""
    baseline = baseline_of(request, result)
    if baseline is None:
        return []
    rows = store_of(request).rows(result.model, result.version, result.window)
    return [] if rows.empty else distributions(baseline, Rows(rows, "in this window"), order)


def _expects_labels(request: Request, result: Result) -> bool:
    """Return whether labels are expected; True for versions that are not registered here."""
    version = registered(request.app.state.catalogue, result.model, result.version)
    return version is None or expects_labels(version.manifest)


def _request_shares(store: Queries, result: Result) -> RequestShares:
    """Return each version's share of the model's requests in this window."""
    versions = [version for model, version in store.monitored_versions() if model == result.model]
    closed = (store.result(result.model, version, result.window.start) for version in versions)
    live = (window for version in versions for window in store.live(result.model, version))
    windows = [*live, *(window for window in closed if window)]
    return request_shares(windows).get((result.model, result.window), {})


def _delivery_item(delivery: Delivery) -> dict[str, Any]:
    """Return a webhook with the alarm or retraining request that it sends, if any."""
    content = read_request(delivery.body)
    subject = content.alarm if isinstance(content, AlarmNotice) else content
    request = subject if isinstance(subject, RetrainRequest | Alarm) else None
    return {
        "delivery": delivery,
        "request": request,
        "about": (request.model, request.version) if request else None,
    }


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "period": formats.period,
        "day": formats.day,
        "iso_day": formats.iso_day,
        "moment": formats.moment,
        "number": formats.number,
        "figure": formats.figure,
        "shortest": formats.shortest,
        "percent": formats.percent,
        "duration": formats.duration,
    }
    environment.globals |= {
        "several": formats.several,
        "SHOWN_AT_FIRST": SHOWN_AT_FIRST,
        "performance_state": performance_state,
        "shadow_sentence": shadow_sentence,
        "shadow_lines": shadow_lines,
        "comparison": comparison_text,
        "links": links,
        "view": window_view,
        "glyphs": glyphs,
        "about": versioned_alarm,
        "alarm_text": alarm_text,
        "badge": alarm_badge,
        "waiting": without_closed_window,
        "bars": bars,
        "zone": zone_name,
        "DAY": DAY,
        "GAPS": GAPS,
        "wait": loop_wait,
        "schedule_text": schedule_text,
        "traffic_sentence": traffic_sentence,
        "traffic_state": traffic_state,
    }
    return environment


_TEMPLATES = _templates()
