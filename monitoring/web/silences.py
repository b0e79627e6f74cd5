"""Create, list and end silences, from the page and in the API."""

import secrets

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitoring.presenter.links import model_path
from monitoring.results import Silence
from monitoring.web.api import json_response, store_of
from monitoring.web.forms import read_change
from monitoring.web.queries import Queries
from telemetry.clock import YEAR_S, now_us, parse_duration

_LONGEST_WHY = 2_000  # characters of a reason


class SilenceRequest(msgspec.Struct, frozen=True, rename={"length": "for"}):
    """The duration and reason of a silence; it matches the alarm's version and rule."""

    length: str  # such as 24h
    reason: str


def routes() -> list[Route]:
    """Return the routes of silences."""
    return [
        Route("/api/silences", silences),
        Route("/api/silences/{silence_id}/end", end, methods=["POST"]),
        Route("/api/alarms/{alarm_id}/silence", silence, methods=["POST"]),
    ]


def active_silences(store: Queries, model: str, version: str) -> list[Silence]:
    """Return the active silences that match alarms of a version."""
    now = now_us()
    return [
        entry
        for entry in store.silences()
        if entry.until > now and entry.model in {"", model} and entry.version in {"", version}
    ]


async def silences(request: Request) -> Response:
    """Return the active silences."""
    now = now_us()
    return json_response([entry for entry in store_of(request).silences() if entry.until > now])


async def silence(request: Request) -> Response:
    """Silence an alarm's rule for its version; a browser is redirected to the version's page."""
    store, silence_request = store_of(request), await _silence_request(request)
    alarm_id = request.path_params["alarm_id"]
    alarm = next((alarm for alarm in store.alarms() if alarm.alarm_id == alarm_id), None)
    if alarm is None:
        raise HTTPException(404, f"no alarm {alarm_id[:64]!r}; GET /api/alarms lists all alarms")
    now = now_us()
    new_silence = Silence(
        silence_id=f"si_{secrets.token_hex(6)}",
        model=alarm.model,
        version=alarm.version,
        rule=alarm.rule,
        until=now + _seconds(silence_request.length) * 1_000_000,
        created=now,
        actor=getattr(request.state, "actor", ""),
        reason=silence_request.reason.strip(),
    )
    store.silence(new_silence)
    return _reply(request, new_silence)


async def end(request: Request) -> Response:
    """End a silence now; a browser is redirected to the version's page."""
    store, silence_id = store_of(request), request.path_params["silence_id"]
    open_silence = next(
        (entry for entry in store.silences() if entry.silence_id == silence_id), None
    )
    if open_silence is None or not store.unsilence(silence_id, now_us()):
        raise HTTPException(
            404, f"no active silence {silence_id[:64]!r}; GET /api/silences lists active silences"
        )
    return _reply(request, open_silence)


def _reply(request: Request, changed_silence: Silence) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return json_response(changed_silence)
    back = (
        model_path(changed_silence.model, changed_silence.version)
        if changed_silence.model and changed_silence.version
        else "/"
    )
    return RedirectResponse(back, status_code=303)


async def _silence_request(request: Request) -> SilenceRequest:
    silence_request = await read_change(request, SilenceRequest, "silence")
    if (
        not silence_request.reason.strip()
        or len(silence_request.reason) > _LONGEST_WHY
        or "\0" in silence_request.reason
    ):
        raise HTTPException(400, f"expected reason: at most {_LONGEST_WHY} characters, without NUL")
    return silence_request


def _seconds(length: str) -> int:
    try:
        return parse_duration(length, longest=YEAR_S)
    except ValueError as error:
        raise HTTPException(400, f"for {length[:20]!r}: {error}") from None
