"""Who may see the page: the service's keys, by Bearer for programs and by Basic for browsers."""

import base64
import binascii
import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

import access.keys
from access.authorization_header import joined
from access.authorizer import Authorizer
from access.errors import AccessError, Unauthenticated
from access.http1 import mark_proven
from access.keys import certificate_grant
from monitoring.web.browser_security import OPEN

# A browser asks for a name and a password; the key is the password, the name may be anything.
_CHALLENGE = {"www-authenticate": 'Basic realm="driftline", charset="UTF-8", Bearer'}


_DECISION = re.compile(r"/api/approvals/(?P<model>[^/]+)/.*")  # about a version of this model


class Authentication:
    """Lets nobody see anything without a key that may `read`, or change without one to `operate`.

    A decision about a version needs `approve`.

    A browser sends its password with any request to this page; BrowserSecurity refuses those of
    other pages.
    """

    def __init__(self, app: ASGIApp, authorizer: Authorizer) -> None:
        self._app = app
        self._authorizer = authorizer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] != OPEN:
            try:
                given = _bearer(Headers(scope=scope))
                self._authorizer.admit(*_asked(scope, given))
                mark_proven(scope)
                state = scope.setdefault("state", {})
                state["actor"] = self._authorizer.actor_of(given)
                state["grant"] = self._authorizer.grant_of(given)
                if self._authorizer.is_open and (name := state.get("certificate", "")):
                    state["grant"] = certificate_grant(name)
                    state["actor"] = state["grant"].actor
            except AccessError as error:
                await _refusal(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _asked(scope: Scope, given: bytes | None) -> tuple[access.keys.Scope, bytes | None, str | None]:
    """Return the scope that a request requires, its credential and its model."""
    if Request(scope).method in {"GET", "HEAD"}:
        return "read", given, None
    if found := _DECISION.fullmatch(scope["path"]):
        return "approve", given, found["model"]
    return "operate", given, None


def _bearer(headers: Headers) -> bytes | None:
    """The Authorization header; the password of a Basic one as if it had come as Bearer."""
    given = joined(value.encode("latin-1") for value in headers.getlist("authorization"))
    if given is None:
        return None
    kind, _, rest = given.partition(b" ")
    if kind.lower() != b"basic":
        return given
    try:
        _, _, password = base64.b64decode(rest, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return b"Bearer " + password


def _refusal(error: AccessError) -> JSONResponse:
    unknown = isinstance(error, Unauthenticated)
    return JSONResponse(
        {"error": str(error)}, 401 if unknown else 403, _CHALLENGE if unknown else None
    )
