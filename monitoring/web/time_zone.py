"""The time zone of the dates on pages: `?tz=NAME` chooses it, and a cookie stores the choice."""

import re
from datetime import UTC
from zoneinfo import ZoneInfo

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring.presenter.formats import ZONE
from registry.timezones import unknown_zone, zone_if_any
from telemetry.clock import YEAR_S

COOKIE = "driftline_tz"
PARAMETER = "tz"
_NAME = re.compile(r"[A-Za-z][-+_A-Za-z0-9]*(/[-+_A-Za-z0-9]+)*")
_LONGEST = 64  # characters of a zone's name


class TimeZoneChoice:
    """Middleware that sets the chosen time zone for pages; the API always uses UTC."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on in the chosen zone, or refuse an unknown zone with 400."""
        if scope["type"] != "http" or scope["path"].startswith(("/api/", "/v1/", "/static/")):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        name = request.query_params.get(PARAMETER, "")
        chosen = _zone(name)
        if name and chosen is None:
            refusal = PlainTextResponse(f"tz: {unknown_zone(name[:_LONGEST])}\n", 400)
            await refusal(scope, receive, send)
            return
        zone = chosen or _zone(request.cookies.get(COOKIE, "")) or UTC
        before = ZONE.set(zone)  # reset below: requests of one connection can share a context
        try:
            await self._app(scope, receive, _with_cookie(send, name) if chosen else send)
        finally:
            ZONE.reset(before)


def _zone(name: str) -> ZoneInfo | None:
    """Return the time zone of this name; None if it is unknown or does not fit into a cookie."""
    return zone_if_any(name) if len(name) <= _LONGEST and _NAME.fullmatch(name) else None


def zone_name() -> str:
    """Return the name of the request's time zone."""
    return str(ZONE.get())


def _with_cookie(send: Send, name: str) -> Send:
    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append(
                "set-cookie",
                f"{COOKIE}={name}; Path=/; Max-Age={YEAR_S}; SameSite=Lax; HttpOnly",
            )
        await send(message)

    return send_with_cookie
