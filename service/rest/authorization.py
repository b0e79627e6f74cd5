"""Authorize REST requests before their body is read."""

from collections.abc import Callable
from typing import Literal

import msgspec

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from access.errors import AccessError
from access.http1 import mark_proven
from service.auth.rules import Rule, match_rule
from service.rest.asgi import (
    App,
    Receive,
    Scope,
    Send,
    authorization_of,
    send_error,
    send_json,
)

_METHODS = {"GET": ("GET", "HEAD"), "POST": ("POST",)}
RouteView = Literal["whole", "public", "admin"]


class AuthorizationMiddleware:
    """ASGI middleware that authorizes requests and serves one view of the routes.

    The view "whole" has all routes, "public" all except admin routes, "admin" only admin routes and
    health probes.
    """

    def __init__(
        self, app: App, authorizer: Callable[[], Authorizer], guard: BrowserGuard, view: RouteView
    ) -> None:
        """`authorizer` is called for each request, because the worker starts later."""
        self._app = app
        self._authorizer = authorizer
        self._guard = guard
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass authorized requests to the application; refuse other requests."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        else:
            await self._authorize(scope, receive, send)

    async def _authorize(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorizer = self._authorizer()
        match = match_rule(scope["path"])
        authorization = authorization_of(scope)
        try:
            if match is None:
                authorizer.admit("any", authorization)
            else:
                authorizer.admit(match.rule.scope, authorization, match.model)
            # Routes for health probes need no check of the Host header, and probes use any name.
            if authorizer.is_open and (match is None or match.rule.scope != "open"):
                self._guard.check(scope["method"].encode("latin-1"), scope["headers"])
        except AccessError as error:
            await send_error(send, error)
            return
        if match is None or match.rule.scope != "open":
            mark_proven(scope)
        if match is None or not self._shows(match.rule):
            body = msgspec.json.encode({"error": f"no route {scope['path']}"})
            await send_json(send, body, 404)
        elif scope["method"] not in (allowed := _METHODS[match.rule.method]):
            names = ", ".join(allowed)
            body = msgspec.json.encode({"error": f"got {scope['method']}; expected {names}"})
            await send_json(send, body, 405, {"allow": names})
        else:
            await self._app(scope, receive, send)

    def _shows(self, rule: Rule) -> bool:
        match self._view:
            case "whole":
                return True
            case "public":
                return not rule.admin
            case "admin":
                return rule.admin or rule.scope == "open"
