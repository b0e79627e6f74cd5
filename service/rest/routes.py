"""REST routes that are served by Starlette: health, metadata, feedback."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from access.errors import AccessError
from eventlog.errors import DriftlineError
from eventlog.shards import TAG_DIGITS
from service.auth.label_scope import LabelScope
from service.errors import InvalidLabels, NotReady
from service.models.configuration import configure
from service.models.label_rules import check_labels
from service.models.metadata import ServerMetadata, describe
from service.protocol.feedback import MOST_BYTES, read_feedback
from service.rest.asgi import authorization_of
from service.rest.content import decode_body
from service.rest.dependencies import RouteDependencies
from service.rest.errors import body_of, headers_of, status_of
from service.rest.extensions import extension_routes


def create_app(dependencies: Callable[[], RouteDependencies]) -> Starlette:
    """Return the application that BentoML mounts; `dependencies` is called for each request."""
    routes = _Routes(dependencies)
    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    return Starlette(
        routes=[
            Route("/v2", routes.server),
            Route("/v2/health/live", routes.live),
            Route("/v2/health/ready", routes.ready),
            *extension_routes(dependencies),  # before `model`, which also matches /models/stats
            Route(model, routes.model),
            Route(version, routes.model),
            Route(f"{model}/config", routes.config),
            Route(f"{version}/config", routes.config),
            Route(f"{model}/ready", routes.model_ready),
            Route(f"{version}/ready", routes.model_ready),
            Route("/v1/feedback", routes.feedback, methods=["POST"]),
        ],
        exception_handlers={DriftlineError: _on_error},
    )


def error_response(error: DriftlineError) -> Response:
    """Return the reply to a request that raised `error`."""
    return Response(body_of(error), status_of(error), headers_of(error), "application/json")


class _Routes:
    def __init__(self, dependencies: Callable[[], RouteDependencies]) -> None:
        self._dependencies = dependencies

    async def live(self, _: Request) -> Response:
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        worker = self._dependencies()
        if worker.log.full:
            return _json({"ready": False, "reason": "the event log's disk is full"}, 503)
        ready = worker.models.ready
        return _json({"ready": ready}, 200 if ready else 503)

    async def server(self, _: Request) -> Response:
        return _json(ServerMetadata())

    async def model(self, request: Request) -> Response:
        return _json(describe(self._dependencies().models, *_model_and_version(request)))

    async def config(self, request: Request) -> Response:
        return _json(configure(self._dependencies().models, *_model_and_version(request)))

    async def model_ready(self, request: Request) -> Response:
        model, selector = _model_and_version(request)
        try:
            self._dependencies().models.check_ready(model, selector)
        except NotReady as error:
            return _json({"name": model, "ready": False, "reason": str(error)}, 503)
        return _json({"name": model, "ready": True})

    async def feedback(self, request: Request) -> Response:
        labels = read_feedback(await self._body(request))
        worker = self._dependencies()
        authorization = authorization_of(request.scope)
        grant = worker.authorizer.grant_of(authorization)
        scope = LabelScope.of(grant, unverified=worker.unverified_labels)
        try:
            verified = scope.verify((label.prediction_id for label in labels), worker.ids.tag)
        except AccessError as error:
            raise worker.authorizer.counted(error) from None
        try:
            check_labels(
                labels,
                lambda id_: id_[:TAG_DIGITS] if id_ in verified else "",
                worker.models.manifests,
            )
        except InvalidLabels as error:
            for shard, refused in error.by_shard.items():
                worker.refuse_labels(shard, refused)
            raise
        worker.limits.admit_labels(worker.authorizer.actor_of(authorization), len(labels))
        worker.log.append_labels(labels, scope.actor, verified)
        await worker.log.wait_until_durable()
        return _json({"accepted": len(labels)})

    async def _body(self, request: Request) -> bytes:
        headers = [request.headers.get(name, "") for name in ("content-type", "content-encoding")]
        kind, encoding = (value.encode("latin-1") for value in headers)
        limit = min(MOST_BYTES, self._dependencies().max_body_bytes)
        return decode_body(await request.body(), kind, encoding, limit)


def _model_and_version(request: Request) -> tuple[str, str]:
    return request.path_params["model"], request.path_params.get("version", "")


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, DriftlineError)
    return error_response(error)
