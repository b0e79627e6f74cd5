"""REST routes of the extensions model repository and statistics."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from access.keys import certificate_grant
from service.errors import InvalidRequest
from service.rest.asgi import authorization_of
from service.rest.dependencies import RouteDependencies

_ACTOR = "rest"  # actor of operations if the service requires no key


class _IndexRequest(msgspec.Struct):
    ready: bool | None = None


class _ChangeRequest(msgspec.Struct):
    parameters: dict[str, Any] | None = None


_index_requests = msgspec.json.Decoder(_IndexRequest)
_change_requests = msgspec.json.Decoder(_ChangeRequest)


def extension_routes(dependencies: Callable[[], RouteDependencies]) -> list[Route]:
    """Return the routes; `dependencies` is called for each request."""
    routes = _Extensions(dependencies)
    model = "/v2/repository/models/{model}"
    return [
        Route("/v2/repository/index", routes.index, methods=["POST"]),
        Route(f"{model}/load", routes.load, methods=["POST"]),
        Route(f"{model}/unload", routes.unload, methods=["POST"]),
        Route("/v2/models/stats", routes.statistics),
        Route("/v2/models/{model}/stats", routes.statistics),
        Route("/v2/models/{model}/versions/{version}/stats", routes.statistics),
    ]


class _Extensions:
    def __init__(self, dependencies: Callable[[], RouteDependencies]) -> None:
        self._dependencies = dependencies

    async def index(self, request: Request) -> Response:
        ready = (await _read(_index_requests, request)).ready
        entries = self._dependencies().repository.index(ready=bool(ready))
        return Response(msgspec.json.encode(entries), media_type="application/json")

    async def load(self, request: Request) -> Response:
        parameters = (await _read(_change_requests, request)).parameters or {}
        repository = self._dependencies().repository
        await repository.load(request.path_params["model"], parameters, actor=self._actor(request))
        return Response()

    async def unload(self, request: Request) -> Response:
        parameters = (await _read(_change_requests, request)).parameters or {}
        repository = self._dependencies().repository
        await repository.unload(
            request.path_params["model"], parameters, actor=self._actor(request)
        )
        return Response()

    def _actor(self, request: Request) -> str:
        actor = self._dependencies().authorizer.actor_of(authorization_of(request.scope))
        name = request.scope.get("state", {}).get("certificate", "")
        return actor or (certificate_grant(name).actor if name else _ACTOR)

    async def statistics(self, request: Request) -> Response:
        worker, path = self._dependencies(), request.path_params
        versions = worker.models.select(path.get("model", ""), path.get("version", ""))
        statistics = worker.statistics.of_versions(versions)
        body = msgspec.json.encode({"model_stats": statistics})
        return Response(body, media_type="application/json")


async def _read(decoder: "msgspec.json.Decoder[Any]", request: Request) -> Any:
    """Decode the JSON of a body, which can be empty; raises InvalidRequest."""
    try:
        return decoder.decode(await request.body() or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON for this request: {error}") from None
