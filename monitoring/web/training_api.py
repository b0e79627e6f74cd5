"""The training rows of a retraining request, and their validation report."""

import asyncio
import io

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.results import RetrainRequest
from monitoring.retrain.training_rows import TrainingRows, training_rows
from monitoring.retrain.validation import ValidationReport, validate
from monitoring.web.api import PARQUET, json_response, store_of, typed
from monitoring.web.distributions import registered
from monitoring.web.pages import page
from monitoring.webhooks.body import read_retrain_request


def routes() -> list[Route]:
    """Return the routes of retraining requests."""
    return [
        Route("/api/retraining/{request}/rows.parquet", rows),
        Route("/api/retraining/{request}/validation", validation),
        Route("/retraining/{request}", training),
    ]


async def rows(request: Request) -> Response:
    """Return the training rows of a retraining request with labels and weights, as Parquet."""
    return Response(await asyncio.to_thread(_parquet, request), media_type=PARQUET)


async def training(request: Request) -> Response:
    """Show the validation report of a retraining request's training rows."""
    return page(request, "training.html", report=await asyncio.to_thread(_report, request))


async def validation(request: Request) -> Response:
    """Return the validation report of a retraining request's training rows."""
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
            f"{retrain_request.model} version {retrain_request.version} is not registered here, so "
            "its reference cannot be compared",
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
    store = store_of(request)
    bodies = (delivery.body for delivery in store.deliveries() if delivery.webhook_id == name)
    retrain_request = next(filter(None, map(read_retrain_request, bodies)), None)
    if retrain_request is None:
        raise HTTPException(404, f"no retraining request {name[:100]!r}; see /api/retraining")
    data = training_rows(store, retrain_request)
    if data is None:
        raise HTTPException(410, "no closed window of the request's period has rows any more")
    return retrain_request, data
