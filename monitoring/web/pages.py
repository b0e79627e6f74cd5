"""The pages that a person reads, rendered on the server."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.errors import DatabaseUnavailable
from monitoring.presenter import comparison_text, formats, links
from monitoring.presenter.alarm_sentence import alarm_text
from monitoring.presenter.headline import alarm_badge, versioned_alarm, without_closed_window
from monitoring.presenter.performance_state import performance_state
from monitoring.presenter.retrain_loop import loop_wait
from monitoring.presenter.shadow_sentences import shadow_lines, shadow_sentence
from monitoring.results import REFERENCE_ROWS, Delivery, Result
from monitoring.web import window_view
from monitoring.web.api import (
    findings_of,
    json_response,
    loops_of,
    periods_of,
    result_of,
    whole_number,
)
from monitoring.web.charts import glyphs, version_charts
from monitoring.web.charts.bars import bars
from monitoring.web.distributions import Distribution, distributions, registered
from monitoring.web.overview import (
    VersionRow,
    headline,
    ledger,
    look,
    row_of,
    sorted_by,
    worst_first,
)
from monitoring.web.policy_view import period_of
from monitoring.web.queries import Queries
from monitoring.web.report_files import locate
from monitoring.web.sampled_inputs import sampled_inputs
from monitoring.web.segment_tables import GAPS, segmented
from monitoring.web.traffic_share import Mix, mixes
from monitoring.webhooks.body import read_retrain_request
from monitoring.windows.grid import END_OF_TIME
from registry.errors import RegistryUnavailable
from registry.features import expects_labels

ON_ONE_PAGE = 60  # windows
LATEST_DELIVERIES = 8


def routes() -> list[Route]:
    """Every address of a page."""
    version = "/models/{model}/{version}"
    return [
        Route("/", overview),
        Route(version, model),
        Route(f"{version}/windows/{{start:whole}}", window),
    ]


async def overview(request: Request) -> Response:
    """Every model version, worst first."""
    findings = findings_of(request)
    seen = look(findings, request.app.state.catalogue)
    wanted = request.query_params.get("q", "").strip()
    order = request.query_params.get("sort", "")
    shown = [row for row in seen.rows if wanted.lower() in f"{row.model} {row.version}".lower()]
    return page(
        request,
        "overview.html",
        headline=seen.headline,
        rows=sorted_by(shown, order),
        order=order,
        any_rows=bool(seen.rows),
        alarms=seen.alarms,
        wanted=wanted,
        ledger=seen.ledger,
        sources=findings.ledger(),
        totals=sorted(findings.totals().items()),
        deliveries=[_delivery_item(one) for one in findings.deliveries()[:LATEST_DELIVERIES]],
        loops=(await loops_of(request))[:LATEST_DELIVERIES],
        stopped=seen.stopped,
    )


async def model(request: Request) -> Response:
    """One model version over time."""
    findings = findings_of(request)
    row = _row_of(request)
    until = whole_number(request, "until")
    shown = findings.results(
        row.model, row.version, last=ON_ONE_PAGE, before=END_OF_TIME if until is None else until
    )
    first = shown[0].window.start if shown else 0
    alarms = worst_first(
        a for a in findings.alarms() if (a.model, a.version) == (row.model, row.version)
    )
    line = version_charts.timeline(shown, alarms)
    deliveries = [
        item
        for one in findings.deliveries()
        if (item := _delivery_item(one))["about"] == (row.model, row.version)
    ]
    return page(
        request,
        "model.html",
        row=row,
        headline=headline([row], ledger([]), []),
        drift_map=version_charts.drift_map(line),
        drifted_share=version_charts.drifted_share(line),
        performance=version_charts.performance(line),
        volume=version_charts.volume(line),
        windows=list(reversed(shown)),
        earlier=first if findings.neighbours(row.model, row.version, first)[0] else None,
        later=until is not None,
        alarms=alarms,
        deliveries=deliveries,
        loops=[
            one
            for one in await loops_of(request)
            if (one.model, one.version) == (row.model, row.version)
        ],
        periods=periods_of(request),
        shadows=request.app.state.shadows() if row.shadow else None,
        comparisons=[
            one
            for one in request.app.state.comparisons.of_model(row.model)
            if row.version in {one.first, one.second}
        ],
    )


async def window(request: Request) -> Response:
    """One window in detail."""
    result = result_of(request)
    findings = findings_of(request)
    before, after = findings.neighbours(result.model, result.version, result.window.start)
    columns = window_view.columns(result)
    return page(
        request,
        "window.html",
        result=result,
        columns=columns,
        distributions=_distributions(request, result, [column.name for column in columns]),
        sampled_inputs=sampled_inputs(findings, result),
        segments=segmented(result),
        labels=_expects_labels(request, result),
        policy_period=period_of(periods_of(request), result.window.start)
        if result.policy
        else None,
        versions=_mix(findings, result),
        late=findings.late(result.model, result.version, result.window),
        before=before,
        after=after,
    )


async def problem(request: Request, error: Exception) -> Response:
    """What went wrong, as JSON below /api and as a page elsewhere."""
    status, detail = 500, "the page could not be made"
    if isinstance(error, HTTPException):
        status, detail = error.status_code, error.detail
    elif isinstance(error, DatabaseUnavailable):
        status, detail = 503, "the monitor's database cannot be reached; try again in a moment"
    elif isinstance(error, RegistryUnavailable):
        status, detail = 503, "the registry cannot be read; try again in a moment"
    if request.url.path.startswith("/api/"):
        return json_response({"error": detail}, status)
    return page(request, "problem.html", status=status, detail=detail)


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Render a template; 304 where the browser shows exactly this already."""
    reports: Path = request.app.state.reports
    item = {"status": status, "has_report": lambda name: name and locate(reports, name) is not None}
    html = _TEMPLATES.get_template(template).render(context | item).encode()
    tag = f'"{hashlib.sha256(html).hexdigest()[:32]}"'
    if status == 200 and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(html, status, media_type="text/html", headers={"etag": tag})


def _row_of(request: Request) -> VersionRow:
    pair = (request.path_params["model"], request.path_params["version"])
    row = row_of(findings_of(request), request.app.state.catalogue, pair)
    if row is None:
        raise HTTPException(404, f"no version {pair[1]} of a model named {pair[0]} was ever seen")
    return row


def _distributions(request: Request, result: Result, order: Sequence[str]) -> list[Distribution]:
    """The columns beside the reference; none where either's rows are gone."""
    measured = window_view.find(result, REFERENCE_ROWS)
    learned = measured.method if measured else ""
    baseline = request.app.state.references.of(result.model, result.version, learned)
    if baseline is None:
        return []
    rows = findings_of(request).rows(result.model, result.version, result.window)
    return [] if rows.empty else distributions(baseline, rows, order)


def _expects_labels(request: Request, result: Result) -> bool:
    """Whether labels are expected for a version; also where it is not registered here."""
    version = registered(request.app.state.catalogue, result.model, result.version)
    return version is None or expects_labels(version.manifest)


def _mix(findings: Queries, result: Result) -> Mix:
    """What share of the model's requests in this window each version was request."""
    versions = [version for model, version in findings.watched() if model == result.model]
    closed = (findings.result(result.model, one, result.window.start) for one in versions)
    live = (window for one in versions for window in findings.live(result.model, one))
    known = [*live, *(window for window in closed if window)]
    return mixes(known).get((result.model, result.window), {})


def _delivery_item(delivery: Delivery) -> dict[str, Any]:
    request = read_retrain_request(delivery.body)
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
        "moment": formats.moment,
        "number": formats.number,
        "figure": formats.figure,
        "percent": formats.percent,
        "duration": formats.duration,
    }
    environment.globals |= {
        "several": formats.several,
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
        "GAPS": GAPS,
        "wait": loop_wait,
    }
    return environment


_TEMPLATES = _templates()
