"""The door of REST: an ASGI application that lets a request on or refuses it before its body."""

from collections.abc import Callable
from typing import Literal

import msgspec

from access.authorizer import Authorizer
from access.errors import AccessError
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

Face = Literal["whole", "public", "admin"]


class AuthorizationMiddleware:
    """One face of the service: everything on one port, or what is public, or what is not."""

    def __init__(self, app: App, authorizer: Callable[[], Authorizer], face: Face) -> None:
        """`authorizer` is called for each request: the worker starts after this is built."""
        self._app = app
        self._authorizer = authorizer
        self._face = face

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        else:
            await self._let_on(scope, receive, send)

    async def _let_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        access = self._authorizer()
        found = match_rule(scope["path"])
        given = authorization_of(scope)
        try:
            if found is None:
                access.admit("any", given)
            else:
                access.admit(found.rule.scope, given, found.model)
        except AccessError as error:
            await send_error(send, error)
            return
        shown = (
            access.is_open and self._face == "whole" if found is None else self._shows(found.rule)
        )
        if shown:
            await self._app(scope, receive, send)
        else:
            body = msgspec.json.encode({"error": f"no route {scope['path']}"})
            await send_json(send, body, 404)

    def _shows(self, rule: Rule) -> bool:
        match self._face:
            case "whole":
                return True
            case "public":
                return not rule.admin
            case "admin":
                return rule.admin or rule.scope == "open"
