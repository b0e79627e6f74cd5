"""Protection of browsers: checks of host and origin, and security headers."""

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from access.browser_guard import BrowserGuard
from access.errors import AccessError, UnknownHost

OPEN_PATH = "/health"  # path without authentication, for probes
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A report's frame can show only URLs of this server, so its scripts cannot navigate to other sites.
FRAME_POLICY = f"{PAGE_POLICY}; frame-src 'self'"
# Evidently's reports run their scripts in a sandbox without an origin and without network access.
# Newer reports contain a stricter policy, which allows only Evidently's scripts.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class BrowserSecurity:
    """Middleware that refuses requests which another site's page makes a browser send.

    API keys are no protection, because the browser adds this page's password to such requests.
    """

    def __init__(self, app: ASGIApp, guard: BrowserGuard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check host and origin, pass the request on, and add security headers to the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] != OPEN_PATH:
            try:
                self._guard.check(scope["method"].encode("latin-1"), scope["headers"])
            except AccessError as error:
                await _refusal(error)(scope, receive, _with_headers(send))
                return
        await self._app(scope, receive, _with_headers(send))


def _refusal(error: AccessError) -> PlainTextResponse:
    return PlainTextResponse(f"{error}\n", 421 if isinstance(error, UnknownHost) else 403)


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", PAGE_POLICY)
            headers.setdefault("cache-control", "no-cache")
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "same-origin"
            headers["cross-origin-opener-policy"] = "same-origin"
            headers["cross-origin-resource-policy"] = "same-origin"
        await send(message)

    return send_with_headers
