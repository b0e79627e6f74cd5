"""Call a Driftline service from Python: request predictions, send labels later.

    from driftline.client import Client, RequestId

    with Client("http://127.0.0.1:3000") as flights:
        answer = flights.predict("flights", frame)     # a DataFrame, or a list of dicts
        answer.labels, answer.probabilities
        flights.feedback(answer, labels)               # when the labels are known

        flights.predict("flights", rows, request_id="order-17")
        flights.feedback(RequestId("flights", "order-17"), 1)   # does not need the answer
        flights.feedback_many([(answer, labels), ...])

    Client("https://models.example.org", api_key="dl_...", verify="authority.pem")

`AsyncClient` has the same methods, with `await`. An error reply is raised as ClientError with the
service's message, a missing reply as Unreachable or NoReply (client_errors.py). A call is retried
if the service refused it for lack of capacity, or if the connection failed.
"""

import asyncio
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from driftline.client_bodies import (
    EventTime,
    Frame,
    Label,
    Predicted,
    Prediction,
    RequestId,
    Row,
    RowPrediction,
    feedback_bodies,
    feedback_body,
    predict_body,
)
from driftline.client_errors import ClientError, NoReply, Unreachable
from driftline.client_retries import Retries

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Label",
    "NoReply",
    "Prediction",
    "RequestId",
    "RowPrediction",
    "Unreachable",
]


def _refusal(response: httpx.Response) -> ClientError:
    """Return the ClientError for a reply that is not 2xx, with the service's message."""
    try:
        message = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        message = response.text
    return ClientError(response.status_code, message)


def _without_reply(error: httpx.TransportError, url: object, timeout: float) -> ClientError:
    """Return Unreachable for an error of httpx before anything was sent, else NoReply."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return Unreachable(0, f"{url}: no connection within {timeout:g} seconds")
    if isinstance(error, httpx.ConnectError):
        return Unreachable(0, f"{url}: cannot connect ({reason}); is `driftline up` running?")
    if isinstance(error, httpx.PoolTimeout):
        return Unreachable(0, f"{url}: no free connection within {timeout:g} seconds")
    if isinstance(error, httpx.TimeoutException):
        return NoReply(0, f"{url}: no reply within {timeout:g} seconds")
    return NoReply(0, f"{url}: the connection was lost ({reason})")


class _Tries:
    """Decides after each try of a call: return the reply, try again after a pause, or raise.

    Both clients use it; they differ only in how they wait.
    """

    def __init__(self, retries: Retries, url: str, timeout: float) -> None:
        self.reply = b""  # content of the successful reply, b"" before
        self._retries, self._url, self._timeout = retries, url, timeout
        self._tried = 0

    def replied(self, response: httpx.Response) -> float | None:
        """Return the seconds until the next try, or None if `reply` is set; raise ClientError."""
        if response.is_success:
            self.reply = response.content
            return None
        return self._pause(_refusal(response), response.headers.get("retry-after", ""))

    def failed(self, error: httpx.TransportError) -> float:
        """Return the seconds until the next try after a missing reply; raise ClientError."""
        return self._pause(_without_reply(error, self._url, self._timeout))

    def _pause(self, error: ClientError, retry_after: str = "") -> float:
        pause = self._retries.pause(self._tried, error, retry_after)
        if pause is None:
            raise error from None
        self._tried += 1
        return pause


Verify = bool | str | ssl.SSLContext


def _headers(api_key: str | None) -> dict[str, str]:
    key = os.environ.get("DRIFTLINE_API_KEY", "") if api_key is None else api_key
    authorization = {"authorization": f"Bearer {key}"} if key else {}
    return {"content-type": "application/json", **authorization}


def _traced() -> dict[str, str]:
    """Return the caller's trace headers, {} if the caller has not imported OpenTelemetry."""
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry.propagate import inject  # noqa: PLC0415

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


@contextmanager
def _span(tracer: Any, name: str, model: str = "") -> Iterator[Callable[[str, str], None]]:
    """Record a span of the caller's tracer; yield a function that adds version and prediction id.

    The span contains only names and ids, because error messages may quote a payload.
    """
    if tracer is None:
        yield lambda _version, _prediction_id: None
        return
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - installed if there is a tracer

    quiet = {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(name, kind=SpanKind.CLIENT, **quiet) as span:

        def annotate(version: str, prediction_id: str) -> None:
            span.set_attribute("driftline.version", version)
            span.set_attribute("driftline.prediction.id", prediction_id)

        if model:
            span.set_attribute("driftline.model", model)
        try:
            yield annotate
        except Exception as error:
            span.set_attribute("error.type", str(getattr(error, "status", type(error).__name__)))
            span.set_status(StatusCode.ERROR)
            raise


def _verify(verify: Verify) -> bool | ssl.SSLContext:
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


class Client:
    """A blocking client with persistent connections; usable from several threads."""

    def __init__(  # noqa: PLR0913  # one argument per setting
        self,
        url: str = "http://127.0.0.1:3000",
        timeout: float = 10.0,
        *,
        api_key: str | None = None,
        verify: Verify = True,
        tracer: Any = None,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a client.

        `timeout` is in seconds per try. `api_key` defaults to DRIFTLINE_API_KEY. `verify` is a CA
        file, or an SSL context, for example with a client certificate. With an OpenTelemetry
        `tracer`, each call is a span; without a tracer, the caller's trace context is sent.
        `retries` is the maximum number of retries where a retry is safe. `transport` replaces the
        transport of httpx.
        """
        self._url, self._timeout, self._tracer = url, timeout, tracer
        self._retries, self._sleep = retries, sleep
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout,
            headers=_headers(api_key),
            verify=_verify(verify),
            transport=transport,
        )

    def predict(  # noqa: PLR0913  # one argument per field
        self,
        model: str,
        rows: Frame | Sequence[Row],
        *,
        version: str | int = "",
        event_time: EventTime | None = None,
        request_id: str = "",
        routing_key: str | int = "",
    ) -> Prediction:
        """Request predictions for rows; `version` is a number or an alias, by default champion.

        `event_time` is the time of the prediction: a datetime with a zone, RFC 3339 or
        microseconds. `request_id` is the caller's name for the request, unique for the model;
        feedback can refer to it. In a rollout, all requests with the same `routing_key`, such as a
        user's id, are answered by the same version. Raises ClientError for an error reply, and its
        subclasses Unreachable and NoReply for a missing reply.
        """
        content = predict_body(
            model,
            rows,
            version=version,
            event_time=event_time,
            request_id=request_id,
            routing_key=routing_key,
        )
        with _span(self._tracer, "predict", model) as annotate:
            reply = self._send("/predict", content, Retries(self._retries, bool(request_id)))
            answer = msgspec.json.decode(reply, type=Prediction)
            annotate(answer.version, answer.prediction_id)
        return answer

    def feedback(
        self,
        prediction: Predicted,
        labels: Label | Sequence[Label],
        *,
        event_time: EventTime | None = None,
    ) -> None:
        """Send the labels of a prediction: one label per row, without a list for a single row.

        `prediction` is a reply, the caller's RequestId or a prediction id. Raises ValueError if
        the reply has a different number of rows, and the same errors as `predict`.
        """
        content = feedback_body(prediction, labels, event_time)
        with _span(self._tracer, "feedback"):
            self._send("/v1/feedback", content, Retries(self._retries, repeatable=True))

    def feedback_many(
        self,
        items: Iterable[tuple[Predicted, Label | Sequence[Label]]],
        *,
        event_time: EventTime | None = None,
    ) -> int:
        """Send the labels of many predictions, up to 10,000 per request; return their number.

        If a request fails, the requests before it were accepted. All may be sent again.
        """
        accepted = 0
        for content in feedback_bodies(items, event_time):
            with _span(self._tracer, "feedback"):
                reply = self._send("/v1/feedback", content, Retries(self._retries, repeatable=True))
            accepted += msgspec.json.decode(reply)["accepted"]
        return accepted

    def _send(self, path: str, content: bytes, retries: Retries) -> bytes:
        tries = _Tries(retries, self._url, self._timeout)
        while True:
            try:
                pause = tries.replied(self._http.post(path, content=content, headers=_traced()))
            except httpx.TransportError as error:
                pause = tries.failed(error)
            if pause is None:
                return tries.reply
            self._sleep(pause)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()


class AsyncClient:
    """A client with the methods of `Client` as coroutines, for concurrent calls."""

    def __init__(  # noqa: PLR0913  # see Client
        self,
        url: str = "http://127.0.0.1:3000",
        timeout: float = 10.0,
        *,
        api_key: str | None = None,
        verify: Verify = True,
        tracer: Any = None,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """See Client."""
        self._url, self._timeout, self._tracer = url, timeout, tracer
        self._retries, self._sleep = retries, sleep
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=timeout,
            headers=_headers(api_key),
            verify=_verify(verify),
            transport=transport,
        )

    async def predict(  # noqa: PLR0913  # see Client
        self,
        model: str,
        rows: Frame | Sequence[Row],
        *,
        version: str | int = "",
        event_time: EventTime | None = None,
        request_id: str = "",
        routing_key: str | int = "",
    ) -> Prediction:
        """See Client.predict."""
        content = predict_body(
            model,
            rows,
            version=version,
            event_time=event_time,
            request_id=request_id,
            routing_key=routing_key,
        )
        with _span(self._tracer, "predict", model) as annotate:
            reply = await self._send("/predict", content, Retries(self._retries, bool(request_id)))
            answer = msgspec.json.decode(reply, type=Prediction)
            annotate(answer.version, answer.prediction_id)
        return answer

    async def feedback(
        self,
        prediction: Predicted,
        labels: Label | Sequence[Label],
        *,
        event_time: EventTime | None = None,
    ) -> None:
        """See Client.feedback."""
        content = feedback_body(prediction, labels, event_time)
        with _span(self._tracer, "feedback"):
            await self._send("/v1/feedback", content, Retries(self._retries, repeatable=True))

    async def feedback_many(
        self,
        items: Iterable[tuple[Predicted, Label | Sequence[Label]]],
        *,
        event_time: EventTime | None = None,
    ) -> int:
        """See Client.feedback_many."""
        accepted = 0
        retries = Retries(self._retries, repeatable=True)
        for content in feedback_bodies(items, event_time):
            with _span(self._tracer, "feedback"):
                reply = await self._send("/v1/feedback", content, retries)
            accepted += msgspec.json.decode(reply)["accepted"]
        return accepted

    async def _send(self, path: str, content: bytes, retries: Retries) -> bytes:
        tries = _Tries(retries, self._url, self._timeout)
        while True:
            try:
                response = await self._http.post(path, content=content, headers=_traced())
                pause = tries.replied(response)
            except httpx.TransportError as error:
                pause = tries.failed(error)
            if pause is None:
                return tries.reply
            await self._sleep(pause)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.close()
