"""The ASGI application of the registry server: routes and their authorization."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from access.authorization_header import join_headers
from access.authorizer import Authorizer
from access.errors import AccessError, Forbidden, Unauthenticated
from access.http1 import mark_proven
from access.keys import Grant, certificate_grant
from access.keys import Scope as AccessScope
from driftline.changes import CHANGES, check_change
from driftline.local_actor import Actor
from driftline.registry_access import rows_of
from driftline.registry_change import RegistryChange
from driftline.remote.errors import status_of_error
from driftline.remote.jobs import Jobs
from driftline.remote.rules import (
    READERS,
    REPORT_READERS,
    RemoteMatch,
    allows_any,
    match_remote_rule,
)
from driftline.remote.uploads import InvalidUpload, Uploads
from driftline.remote.work import GateWork, JobView, RegisterWork, RemoteJob, SchedulePage
from driftline.version_summaries import MOST_MODELS, ModelQuery, read_page
from eventlog.errors import DriftlineError, SettingError
from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.gates.reports import open_reports
from registry.names import require_model_name
from registry.settings import open_history
from registry.store import Registry

_LARGEST_BODY = 16 << 20  # bytes of JSON; a manifest may name thousands of classes
_LONGEST_WAIT_S = 20.0  # for new lines of a job
_LONGEST_PATTERN = 1_000  # characters
_MOST_FILES = 1_000  # per model
_PAGE = 1_000  # history rows per reply

_Body = TypeVar("_Body", bound=msgspec.Struct)


def registry_app(home: Home, authorizer: Authorizer, uploads: Uploads, most_jobs: int) -> Starlette:
    """Return the application; every request needs a key."""
    routes = _Routes(home, uploads)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        routes.jobs = Jobs(most_jobs)
        try:
            yield
        finally:
            await routes.jobs.close()

    model = "/v1/registry/models/{model}"
    return Starlette(
        routes=[
            Route("/health", _health),
            Route("/v1/registry/models", routes.models),
            Route("/v1/registry/workers", routes.workers),
            Route("/v1/registry/reports/{digest}", routes.report),
            Route("/v1/registry/uploads/{digest}", routes.upload, methods=["PUT"]),
            Route("/v1/registry/jobs/{job}", routes.job),
            Route("/v1/registry/rows", routes.all_rows),
            Route("/v1/registry/schedules", routes.schedules),
            Route(f"{model}/history", routes.history),
            Route(f"{model}/versions", routes.versions),
            Route(f"{model}/versions", routes.register, methods=["POST"]),
            Route(f"{model}/gate", routes.gate, methods=["POST"]),
            *(
                Route(f"{model}/{name}", routes.change(kind), methods=["POST"])
                for name, kind in CHANGES.items()
            ),
        ],
        middleware=[Middleware(RemoteAuthorization, authorizer=authorizer)],
        exception_handlers={DriftlineError: _on_error, HTTPException: _on_http, 500: _on_fault},
        lifespan=lifespan,
    )


class RemoteAuthorization:
    """ASGI middleware that refuses unauthorized requests before their bodies are read."""

    def __init__(self, app: ASGIApp, authorizer: Authorizer) -> None:
        self._app = app
        self._authorizer = authorizer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorize a request and forward it, with its actor, to the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        request = Request(scope)
        method = "GET" if request.method == "HEAD" else request.method
        try:
            actor = self._admit(request, match_remote_rule(method, scope["path"]))
        except AccessError as error:
            await _error_reply(error)(scope, receive, send)
            return
        mark_proven(scope)
        scope.setdefault("state", {})["actor"] = actor
        await self._app(scope, receive, send)

    def _admit(self, request: Request, match: RemoteMatch | None) -> Actor:
        values = request.headers.getlist("authorization")
        authorization = join_headers(value.encode("latin-1") for value in values)
        scopes: tuple[AccessScope, ...] = ("any",) if match is None else match.rule.scopes
        model = None if match is None else match.model
        if scopes == ("open",):
            return Actor("")
        if (
            "origin" in request.headers
        ):  # a browser presents its client certificate on behalf of any page
            raise Forbidden("this port is for programs; expected no Origin")
        self._authorizer.admit("any", authorization)
        if self._authorizer.is_open:  # authentication only by client certificates
            name = request.scope.get("state", {}).get("certificate", "")
            if not name:
                raise Unauthenticated("expected a key, or a client certificate with a name")
            request.state.grant = certificate_grant(name)
            return Actor(request.state.grant.actor)
        grant = request.state.grant = self._authorizer.grant_of(authorization)
        assert grant is not None
        if not allows_any(grant, scopes, model):
            expected = " or ".join(scopes)
            raise self._authorizer.counted(
                Forbidden(f"{grant.actor} lacks the scope {expected}, for this model or for all")
            )
        return Actor(grant.actor, grant.roles, grant.allows("promote", model))


class _Routes:
    jobs: Jobs  # set while the application runs

    def __init__(self, home: Home, uploads: Uploads) -> None:
        self._home = home
        self._uploads = uploads

    async def models(self, request: Request) -> Response:
        return _json(await asyncio.to_thread(read_page, self._home, _query(request)))

    async def workers(self, request: Request) -> Response:
        """Return the workers' reports, restricted to models that the caller may read or change."""
        grant: Grant = request.state.grant
        reports = await asyncio.to_thread(AllWorkers(self._home).read)
        return _json([report.about(partial(allows_any, grant, READERS)) for report in reports])

    async def history(self, request: Request) -> Response:
        rows = await asyncio.to_thread(rows_of, self._home, _model(request))
        after = _number(request, "after")
        return _json([row for row in rows if row.revision > after])

    async def all_rows(self, request: Request) -> Response:
        """Return the next rows of all models after a revision, [] at the end."""
        history, after = open_history(self._home), _number(request, "after")
        return _json(await asyncio.to_thread(lambda: list(islice(history.all_rows(after), _PAGE))))

    async def schedules(self, request: Request) -> Response:
        """Return the next page of the rows that set schedules, sorted by model."""
        rows = await asyncio.to_thread(open_history(self._home).schedules)
        after = request.query_params.get("after", "")
        later = rows[bisect_right(rows, after, key=lambda row: row.model) :]
        page = later[:_PAGE]
        return _json(SchedulePage(page, page[-1].model if len(later) > _PAGE else ""))

    async def versions(self, request: Request) -> Response:
        registry = Registry(self._home)
        versions = await asyncio.to_thread(registry.versions, _model(request))
        return _json([replace(version, path="") for version in versions])

    async def report(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        self._uploads.path(digest)  # raises InvalidUpload unless it is a digest
        reports = open_reports(self._home)
        report = await asyncio.to_thread(reports.read, digest)
        grant: Grant = request.state.grant
        if not allows_any(grant, REPORT_READERS, report.model):
            expected = " or ".join(REPORT_READERS)
            raise Forbidden(f"{grant.actor} lacks the scope {expected}, for this model or for all")
        if "text/html" in request.headers.get("accept", ""):
            page = reports.page(digest)
            if not page.exists():
                raise HTTPException(404, "this report's page is on the machine that ran the gates")
            html = await asyncio.to_thread(page.read_bytes)
            policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
            return Response(html, media_type="text/html", headers=policy)
        return _json(report)

    def change(self, kind: type[RegistryChange]) -> Callable[[Request], Any]:
        """Return the handler for a kind of change."""

        async def route(request: Request) -> Response:
            change = await _read(request, kind)
            model, actor = _model(request), request.state.actor
            check_change(model, change)
            return _json(await asyncio.to_thread(change.apply, self._home, model, actor))

        return route

    async def upload(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        if self._uploads.has(digest):
            return _json({"digest": digest}, close=True)  # the body is not read
        length = request.headers.get("content-length", "")
        if not length.isdecimal():
            raise HTTPException(411, "expected content-length: the size of the file")
        with self._uploads.begin(digest, int(length)) as upload:
            async for chunk in request.stream():
                upload.write(chunk)
            await asyncio.to_thread(upload.finish)
        return _json({"digest": digest}, 201)

    async def register(self, request: Request) -> Response:
        work = await _read(request, RegisterWork)
        _check_names(work.files)
        needed = [*work.files.values(), *filter(None, [work.reference])]
        if missing := sorted({digest for digest in needed if not self._uploads.has(digest)}):
            raise HTTPException(409, f"not uploaded: {', '.join(missing)}; upload them first")
        folder = str(self._uploads.path("0" * 64).parent)
        return self._start(request, register=work, folder=folder)

    async def gate(self, request: Request) -> Response:
        return self._start(request, gate=await _read(request, GateWork))

    def _start(self, request: Request, **work: Any) -> Response:
        actor = request.state.actor
        job = RemoteJob(
            model=_model(request),
            actor=actor.name,
            may_promote=actor.may_promote,
            **work,
        )
        return _json(JobView(id=self.jobs.start(job)), 202)

    async def job(self, request: Request) -> Response:
        after, wait = _number(request, "after"), min(_number(request, "wait"), _LONGEST_WAIT_S)
        actor = request.state.actor.name
        return _json(await self.jobs.view(request.path_params["job"], actor, after, wait))


def _model(request: Request) -> str:
    """Return the model name in the path; raises InvalidName."""
    model: str = request.path_params["model"]
    require_model_name(model)
    return model


async def _health(_: Request) -> Response:
    return _json({"status": "ok"})


async def _read(request: Request, kind: type[_Body]) -> _Body:
    """Decode a JSON body; raises HTTPException if it is too large, SettingError if invalid."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise HTTPException(
                413, f"the body is too large; expected at most {_LARGEST_BODY} bytes"
            )
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingError(f"the body: {error}") from None


def _check_names(files: dict[str, str]) -> None:
    """Raise InvalidUpload for too many files, or for names outside the model's folder."""
    if not 1 <= len(files) <= _MOST_FILES:
        raise InvalidUpload(f"{len(files)} files; expected 1 to {_MOST_FILES}")
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or {"..", "."} & set(path.parts) or str(path) != name or "\0" in name:
            raise InvalidUpload(f"file {name[:80]!r}: expected a path inside the model's folder")


def _query(request: Request) -> ModelQuery:
    pattern, after, tag, owner = (
        request.query_params.get(name, "") for name in ("pattern", "after", "tag", "owner")
    )
    if len(pattern) > _LONGEST_PATTERN:
        raise HTTPException(
            400, f"pattern has {len(pattern)} characters; expected at most {_LONGEST_PATTERN}"
        )
    limit = _number(request, "limit", "100")
    if not 1 <= limit <= MOST_MODELS:
        raise HTTPException(400, f"limit is {limit}; expected 1 to {MOST_MODELS} models")
    return ModelQuery(pattern, after, limit, tag, owner)


def _number(request: Request, name: str, default: str = "0") -> int:
    text = request.query_params.get(name, default)
    if not text.isdecimal() or len(text) > 18:
        raise HTTPException(400, f"{name} is {text[:40]!r}; expected a whole number")
    return int(text)


def _json(value: Any, status: int = 200, *, close: bool = False) -> Response:
    headers = {"connection": "close"} if close else None
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def _error_reply(error: DriftlineError) -> Response:
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="driftline"'
    body = {"error": str(error), "kind": type(error).__name__}
    status = status_of_error(error)
    if status in {429, 503}:
        headers["retry-after"] = "1"
    return Response(msgspec.json.encode(body), status, headers, "application/json")


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, DriftlineError)
    return _error_reply(error)


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail, "kind": "HTTPException"}, error.status_code)


async def _on_fault(_: Request, __: Exception) -> Response:
    return _json({"error": "the request failed; see the server's log", "kind": "Fault"}, 500)
