"""Authentication with the service's API keys: Bearer for programs, Basic for browsers."""

import base64
import binascii
import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import access.keys
from access.authorization_header import join_headers
from access.authorizer import Authorizer
from access.errors import AccessError, Unauthenticated
from access.http1 import mark_proven
from access.keys import certificate_grant
from monitoring.web.browser_security import OPEN_PATH
from monitoring.web.refusal import refusal

# Makes a browser ask for a user name, which is ignored, and a password, which is the API key.
_CHALLENGE = {"www-authenticate": 'Basic realm="driftline", charset="UTF-8", Bearer'}

_STATIC = "/static/"  # style sheet, scripts and icon of every page
_DECISION = re.compile(r"/api/approvals/(?P<model>[^/]+)/.*")
_REVIEW = re.compile(r"/review/(?P<model>[^/]+)")
_ROLLOUT = re.compile(r"/api/models/(?P<model>[^/]+)/rollouts/.*")


class Authentication:
    """Middleware that requires an API key with the scope that a request needs.

    Pages need `read`, and changes need `operate`. Three kinds of requests need a scope for the
    model in the URL: decisions on approval requests `approve`, the review queue `review`, and
    rollout changes `promote`. For the style sheet and scripts, any key is sufficient.

    A browser also sends its password with requests that another site's page makes; BrowserSecurity
    refuses such requests.
    """

    def __init__(self, app: ASGIApp, authorizer: Authorizer) -> None:
        self._app = app
        self._authorizer = authorizer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 401 or 403."""
        if scope["type"] == "http" and scope["path"] != OPEN_PATH:
            try:
                token = _bearer(Headers(scope=scope))
                self._authorizer.admit(*_access(scope, token))
                mark_proven(scope)
                state = scope.setdefault("state", {})
                state["actor"] = self._authorizer.actor_of(token)
                state["grant"] = self._authorizer.grant_of(token)
                if self._authorizer.is_open and (name := state.get("certificate", "")):
                    state["grant"] = certificate_grant(name)
                    state["actor"] = state["grant"].actor
            except AccessError as error:
                await _refusal(error, Headers(scope=scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _access(
    scope: Scope, token: bytes | None
) -> tuple[access.keys.Scope, bytes | None, str | None]:
    """Return the scope that a request needs, its credential, and the model that it concerns."""
    request = Request(scope)
    if scope["path"] == "/v1/review":  # the handler refuses a request without a model
        return "review", token, request.query_params.get("model")
    if match := _REVIEW.fullmatch(scope["path"]):
        return "review", token, match["model"]
    if request.method in {"GET", "HEAD"}:
        return "any" if scope["path"].startswith(_STATIC) else "read", token, None
    if match := _ROLLOUT.fullmatch(scope["path"]):
        return "promote", token, match["model"]
    if match := _DECISION.fullmatch(scope["path"]):
        return "approve", token, match["model"]
    return "operate", token, None


def _bearer(headers: Headers) -> bytes | None:
    """Return the Authorization header; a Basic header's password becomes a Bearer header."""
    header = join_headers(value.encode("latin-1") for value in headers.getlist("authorization"))
    if header is None:
        return None
    kind, _, rest = header.partition(b" ")
    if kind.lower() != b"basic":
        return header
    try:
        _, _, password = base64.b64decode(rest, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return b"Bearer " + password


def _refusal(error: AccessError, headers: Headers) -> Response:
    if isinstance(error, Unauthenticated):
        return refusal(headers, 401, str(error), _CHALLENGE)
    return refusal(headers, 403, str(error))
