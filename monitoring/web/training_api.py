"""The rows of a retraining request, and what their validation found."""

import asyncio
import io

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.results import RetrainRequest
from monitoring.retrain.training_rows import TrainingRows, training_rows
from monitoring.retrain.validation import ValidationReport, validate
from monitoring.web.api import PARQUET, findings_of, json_response, typed
from monitoring.web.distributions import registered
from monitoring.web.pages import page
from monitoring.webhooks.body import read_retrain_request


def routes() -> list[Route]:
    """Return the addresses below that of a request."""
    return [
        Route("/api/retraining/{request}/rows.parquet", rows),
        Route("/api/retraining/{request}/validation", validation),
        Route("/retraining/{request}", training),
    ]


async def rows(request: Request) -> Response:
    """Return the rows of the request's period with labels and weights, as Parquet."""
    return Response(await asyncio.to_thread(_parquet, request), media_type=PARQUET)


async def training(request: Request) -> Response:
    """Return the page of these rows and of their validation."""
    return page(request, "training.html", report=await asyncio.to_thread(_report, request))


async def validation(request: Request) -> Response:
    """Return the validation of these rows, as JSON."""
    return json_response(await asyncio.to_thread(_report, request))


def _parquet(request: Request) -> bytes:
    _, data = _rows_of(request)
    buffer = io.BytesIO()
    typed(data.frame).to_parquet(buffer, index=False)
    return buffer.getvalue()


def _report(request: Request) -> ValidationReport:
    retrain_request, data = _rows_of(request)
    state = request.app.state
    version = registered(state.catalogue, retrain_request.model, retrain_request.version)
    if version is None:
        raise HTTPException(
            404,
            f"{retrain_request.model} version {retrain_request.version} is not registered here: "
            "no rows to compare",
        )
    baseline = state.references.of(retrain_request.model, retrain_request.version)
    return validate(
        request.path_params["request"],
        retrain_request.model,
        retrain_request.version,
        data,
        manifest=version.manifest,
        reference=None if baseline is None else baseline.frame,
    )


def _rows_of(request: Request) -> tuple[RetrainRequest, TrainingRows]:
    name = request.path_params["request"]
    findings = findings_of(request)
    bodies = (delivery.body for delivery in findings.deliveries() if delivery.webhook_id == name)
    retrain_request = next(filter(None, map(read_retrain_request, bodies)), None)
    if retrain_request is None:
        raise HTTPException(404, f"no retraining request {name[:100]!r}; see /api/retraining")
    data = training_rows(findings, retrain_request)
    if data is None:
        raise HTTPException(410, "no closed window of the request's period has rows any more")
    return retrain_request, data
