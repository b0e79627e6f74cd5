"""Read the bodies of all requests except inference, within the size limit.

Inference is answered before ASGI; see connection.py. All other requests pass this middleware before
BentoML's application.
"""

from collections.abc import Callable

import msgspec

from service.buffered_bytes import BufferedBytes
from service.errors import Overloaded, TooLarge
from service.rest.asgi import (
    App,
    Disconnected,
    Message,
    Receive,
    Scope,
    Send,
    read_body,
    send_error,
    send_json,
)
from service.rest.head import target
from service.telemetry.metrics import flush


class BodyMiddleware:
    """ASGI middleware that reads the bodies of POST requests."""

    def __init__(
        self, app: App, max_body_bytes: int, buffered: Callable[[], BufferedBytes]
    ) -> None:
        """`buffered` is called for each request and returns the worker's buffered bytes."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._buffered = buffered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body and pass on the request; refuse a body over the limit."""
        if scope["type"] != "http" or scope["method"] != "POST" or target(scope["path"]):
            await self._pass_on(scope, receive, send)
            return
        try:
            body = await read_body(_length(scope), receive, self._max_body_bytes, self._buffered())
        except (TooLarge, Overloaded) as error:
            await send_error(send, error)
        except Disconnected:
            return
        else:
            await self._pass_on(scope, _replay(body, receive), send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and target(scope["path"]) is not None:
            body = msgspec.json.encode({"error": f"got {scope['method']}; expected POST"})
            await send_json(send, body, 405, {"allow": "POST"})
            return
        if scope.get("path") == "/metrics":
            flush()
        await self._app(scope, receive, _as_json(scope, send))


def _as_json(scope: Scope, send: Send) -> Send:
    """Wrap `send` so that a framework's plain-text 404 or 405 becomes `{"error": ...}`."""
    refusal: Message | None = None

    async def send_as_json(message: Message) -> None:
        nonlocal refusal
        if message["type"] == "http.response.start" and _is_plain_refusal(message):
            refusal = message
        elif refusal is None:
            await send(message)
        elif not message.get("more_body", False):
            body, headers = _refusal(scope, refusal)
            await send_json(send, body, refusal["status"], headers)

    return send_as_json


def _is_plain_refusal(start: Message) -> bool:
    kind = next((value for name, value in start["headers"] if name == b"content-type"), b"")
    return start["status"] in {404, 405} and kind != b"application/json"


def _refusal(scope: Scope, start: Message) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of a 404 or 405."""
    if start["status"] == 404:
        return msgspec.json.encode({"error": f"no route {scope['path']}"}), {}
    allow = next((value.decode() for name, value in start["headers"] if name == b"allow"), "")
    allowed = ", ".join(sorted(allow.split(", ")))  # Starlette's order is random
    reason = f"got {scope['method']}; expected {allowed or 'another method'}"
    return msgspec.json.encode({"error": reason}), {"allow": allowed}


def _length(scope: Scope) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == b"content-length"), None)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns the read body first, then further messages."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
