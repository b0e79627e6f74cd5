"""The ASGI callable in front of BentoML's application.

It answers inference itself, without BentoML's middleware, and hands everything else on, with a
body that is read and within the limit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from eventlog.errors import DriftlineError
from registry.manifest import Manifest
from service.call import Answer
from service.classification import check_classes, with_classes
from service.errors import TooLarge
from service.openinference import binary, json
from service.openinference.messages import InferRequest
from service.rest_api.asgi import (
    App,
    Disconnected,
    Message,
    Receive,
    Scope,
    Send,
    Watch,
    read_body,
    send_body,
    send_error,
    send_json,
)
from service.wiring import Serving

_JSON_LENGTH = binary.HEADER.encode()
_BYTES = (b"content-type", b"application/octet-stream")


class Front:
    """Wraps an ASGI application; `serving` gives what the worker has started."""

    def __init__(self, app: App, serving: Callable[[], Serving]) -> None:
        self._app = app
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (target := _target(scope["path"])) is None:
            await self._hand_on(scope, receive, send)
        elif scope["method"] != "POST":
            body = msgspec.json.encode({"error": f"got {scope['method']}; expected POST"})
            await send_json(send, body, 405, {"allow": "POST"})
        else:
            await self._infer(*target, scope, receive, send)

    async def _infer(
        self, model: str, asked: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        serving = self._serving()
        headers = _headers(scope)
        call = serving.call("rest", model, asked, headers.traceparent)
        try:
            try:
                body = await read_body(headers.length, receive, serving.settings.max_body_bytes)
            except TooLarge as error:
                serving.pipeline.refuse(call, error)
                raise
            except Disconnected:
                serving.pipeline.abandon(call)
                return
            with Watch(receive):
                answer = await serving.pipeline.infer(
                    call, partial(_decode, body, headers.json_length)
                )
        except DriftlineError as error:
            await send_error(send, error)
        except Disconnected:  # and the pipeline has logged it
            return
        else:
            await _send_answer(send, answer)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        try:
            limit = self._serving().settings.max_body_bytes
            body = await read_body(_headers(scope).length, receive, limit)
        except TooLarge as error:
            await send_error(send, error)
        except Disconnected:
            return
        else:
            await self._app(_as_json(scope), _replay(body, receive), send)


def _target(path: str) -> tuple[str, str] | None:
    """The model and version that an inference path names, None for other paths."""
    if not path.endswith("/infer"):
        return None
    match path.split("/"):
        case ["", "v2", "models", model, "infer"]:
            return model, ""
        case ["", "v2", "models", model, "versions", version, "infer"]:
            return model, version
    return None


class _Headers(msgspec.Struct):
    """The headers that matter here, as they were sent."""

    length: bytes | None = None
    json_length: bytes | None = None  # where the binary extension's JSON ends
    traceparent: str = ""


def _headers(scope: Scope) -> _Headers:
    headers = _Headers()
    for name, value in scope["headers"]:
        if name == b"content-length":
            headers.length = value
        elif name == _JSON_LENGTH:
            headers.json_length = value
        elif name == b"traceparent":
            headers.traceparent = value.decode("latin-1")
    return headers


def _decode(body: bytes, json_length: bytes | None, manifest: Manifest) -> InferRequest:
    if json_length is None:
        request = json.decode_request(body)
    else:
        request = binary.decode_request(body, json_length)
    if request.classes:
        check_classes(request.classes, manifest)
    return request


async def _send_answer(send: Send, answer: Answer) -> None:
    """As JSON, or with raw bytes behind it where the client asked for some."""
    if answer.request.classes:
        answer = with_classes(answer)
    wanted = answer.wanted()
    told: dict[str, Any] = {
        "model": answer.version.model,
        "version": answer.version.number,
        "request_id": answer.request.id,
        "parameters": answer.parameters(),
        "outputs": {name: answer.outputs[name] for name in wanted},
    }
    arrays = answer.share.outputs
    raw = {name: arrays[name] for name in wanted if answer.request.wants_raw(name)}
    if not raw:
        await send_json(send, json.encode_response(**told))
        return
    body, length = binary.encode_response(**told, raw=raw)
    await send_body(send, body, [_BYTES, (_JSON_LENGTH, b"%d" % length)])


def _as_json(scope: Scope) -> Scope:
    """The scope with JSON for its content type: every body here is JSON, whatever curl calls it."""
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
