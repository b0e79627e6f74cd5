"""`POST /predict`: rows of named features, answered in front of BentoML's application.

BentoML shows the route in its docs and its client calls it, but would refuse a body in its own
words and without an event.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from eventlog.errors import DriftlineError
from registry.manifest import Manifest
from service.call import Call, InferenceResponse
from service.errors import InvalidRequest
from service.protocol.messages import InferRequest
from service.protocol.named_rows import read_predictions, read_rows
from service.rest.asgi import (
    App,
    Disconnected,
    Header,
    Receive,
    Scope,
    Send,
    read_body,
    send_body,
    send_error,
)
from service.rest.content import decode_body
from service.rest.dependencies import InferenceDependencies
from service.rest.replies import response_headers

_PATH = "/predict"


class _PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body, its rows not read yet."""

    model: str
    rows: msgspec.Raw
    version: str = ""
    event_time: str | int | None = None

    def decode(self, manifest: Manifest) -> InferRequest:
        """The request that the rows state; raises InvalidRequest or InvalidFeatures."""
        return read_rows(_decoded(_rows, self.rows), self.event_time, manifest)


_requests = msgspec.json.Decoder(_PredictRequest)
_rows = msgspec.json.Decoder(list[dict[str, Any]])


class PredictMiddleware:
    """Wraps an ASGI application; `dependencies` is called for each request."""

    def __init__(self, app: App, dependencies: Callable[[], InferenceDependencies]) -> None:
        self._app = app
        self._dependencies = dependencies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for predictions, hand on any other."""
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        call = self._dependencies().new_call("predict", "", "", traceparent)
        try:
            answer = await self._answer(call, headers, receive)
        except DriftlineError as error:
            await send_error(send, error, _about(call))
        except Disconnected:
            self._dependencies().pipeline.leave(call)
        else:
            await send_body(send, _encode(answer), [*_told(answer), *_about(call)])

    async def _answer(
        self, call: Call, headers: dict[bytes, bytes], receive: Receive
    ) -> InferenceResponse:
        inference = self._dependencies()
        try:
            request = await _read(headers, receive, inference.max_body_bytes)
        except DriftlineError as error:
            raise inference.pipeline.refuse(call, error) from None
        call.model, call.selector = request.model, request.version
        inference.authorizer.admit("predict", headers.get(b"authorization"), call.model)
        return await inference.pipeline.infer(call, request.decode)


async def _read(headers: dict[bytes, bytes], receive: Receive, limit: int) -> _PredictRequest:
    body = await read_body(headers.get(b"content-length"), receive, limit)
    kind, encoding = headers.get(b"content-type", b""), headers.get(b"content-encoding", b"")
    request: _PredictRequest = _decoded(_requests, decode_body(body, kind, encoding, limit))
    return request


def _decoded(decoder: "msgspec.json.Decoder[Any]", body: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            'the body is no JSON like {"model": ..., "rows": [{feature: value, ...}, ...]}: '
            f"{error}"
        ) from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def _encode(answer: InferenceResponse) -> bytes:
    return msgspec.json.encode(
        {
            "model": answer.version.model,
            "version": answer.version.number,
            "prediction_id": answer.prediction_id,
            "predictions": read_predictions(answer.version.manifest.prediction, answer.outputs),
        }
    )


def _told(answer: InferenceResponse) -> list[Header]:
    lines = response_headers(answer).splitlines()
    pairs: list[Header] = [(b"content-type", b"application/json")]
    for name, _, value in (channel.partition(b": ") for channel in lines):
        pairs.append((name, value))
    return pairs


def _about(call: Call) -> list[Header]:
    """What every reply says of its call: the trace, and the event of one without an answer."""
    told = {b"traceparent": call.traceparent, b"driftline-prediction-id": call.prediction_id}
    return [(name, value.encode()) for name, value in told.items() if value]
