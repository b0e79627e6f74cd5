"""Answer `POST /predict`, which predicts for rows of named features.

The route is declared for BentoML's documentation and client. But BentoML's handler would refuse an
invalid body with its own error format and without an event, so this middleware answers first.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from eventlog.errors import DriftlineError
from registry.manifest import Manifest
from service.call import Call, InferenceResponse
from service.errors import InvalidRequest
from service.protocol.messages import InferRequest
from service.protocol.named_rows import read_predictions, read_rows
from service.protocol.prediction_ids import prediction_id_of
from service.protocol.routing_key import ROUTING_KEY, read_key
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
    """The body; its rows are not decoded yet."""

    model: str
    rows: msgspec.Raw
    version: str | int | None = None  # None is allowed, because some serializers write unset fields
    event_time: str | int | None = None
    request_id: str | int | None = None  # the caller's own id, for feedback
    routing_key: str | int | None = None

    def decode(self, manifest: Manifest) -> InferRequest:
        """Return the inference request; raises InvalidRequest or InvalidFeatures."""
        read = read_rows(_decoded(_rows, self.rows), self.event_time, manifest)
        return replace(read, id=self.own_id) if self.own_id else read

    @property
    def own_id(self) -> str:
        """The caller's own id as text; "" if there is none."""
        return "" if self.request_id is None else str(self.request_id)


_requests = msgspec.json.Decoder(_PredictRequest)
_rows = msgspec.json.Decoder(list[dict[str, Any]])


class PredictMiddleware:
    """ASGI middleware for `/predict`; `dependencies` is called for each request."""

    def __init__(self, app: App, dependencies: Callable[[], InferenceDependencies]) -> None:
        self._app = app
        self._dependencies = dependencies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests to `/predict`; pass on other requests."""
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        key = read_key(headers.get(ROUTING_KEY, b""))
        call = self._dependencies().new_call("predict", "", "", traceparent, routing_key=key)
        try:
            response = await self._answer(call, headers, receive)
        except DriftlineError as error:
            await send_error(send, error, [*_event_header(call), *_trace_header(call)])
        except Disconnected:
            self._dependencies().pipeline.cancel(call)
        else:
            await send_body(send, _encode(response), [*_headers(response), *_trace_header(call)])

    async def _answer(
        self, call: Call, headers: dict[bytes, bytes], receive: Receive
    ) -> InferenceResponse:
        inference = self._dependencies()
        try:
            request, size = await _read(headers, receive, inference)
        except DriftlineError as error:
            raise inference.pipeline.refuse(call, error) from None
        call.model = request.model
        call.selector = "" if request.version is None else str(request.version)
        call.authorization = headers.get(b"authorization")
        inference.authorizer.admit("predict", call.authorization, call.model)
        parameters = {"event_time": request.event_time}
        if inference.limits.bound_requests:
            key = inference.authorizer.actor_of(call.authorization)
            call.account = inference.limits.admit(key, size)
        try:
            return await inference.pipeline.infer(
                call, partial(_decode, call, request), lambda: parameters
            )
        finally:
            call.end_account()


def _decode(call: Call, request: _PredictRequest, manifest: Manifest) -> InferRequest:
    """Set the call's stated parameters; return the inference request."""
    if request.own_id:
        call.prediction_id = prediction_id_of(request.model, request.own_id)
    if request.event_time is not None:
        call.set_event_time(request.event_time)
    if request.routing_key is not None and request.routing_key != "":
        call.routing_key = str(request.routing_key)
    return request.decode(manifest)


async def _read(
    headers: dict[bytes, bytes], receive: Receive, inference: InferenceDependencies
) -> tuple[_PredictRequest, int]:
    """Return the request and the size of its body before decompression."""
    limit = inference.max_body_bytes
    body = await read_body(headers.get(b"content-length"), receive, limit, inference.buffered)
    kind, encoding = headers.get(b"content-type", b""), headers.get(b"content-encoding", b"")
    request: _PredictRequest = _decoded(_requests, decode_body(body, kind, encoding, limit))
    return request, len(body)


def _decoded(decoder: "msgspec.json.Decoder[Any]", body: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            'invalid body; expected JSON like {"model": ..., "rows": [{feature: value}, ...]}: '
            f"{error}"
        ) from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def _encode(response: InferenceResponse) -> bytes:
    return msgspec.json.encode(
        {
            "model": response.version.model,
            "version": response.version.number,
            "prediction_id": response.prediction_id,
            "predictions": read_predictions(response.version.manifest.prediction, response.outputs),
        }
    )


def _headers(response: InferenceResponse) -> list[Header]:
    lines = response_headers(response).splitlines()
    pairs: list[Header] = [(b"content-type", b"application/json")]
    for name, _, value in (line.partition(b": ") for line in lines):
        pairs.append((name, value))
    return pairs


def _trace_header(call: Call) -> list[Header]:
    return [(b"traceparent", call.traceparent.encode())] if call.traceparent else []


def _event_header(call: Call) -> list[Header]:
    """Return the header with the prediction id of a failed call."""
    name = b"driftline-prediction-id"
    return [(name, call.prediction_id.encode())] if call.prediction_id else []
