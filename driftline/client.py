"""Call a Driftline service from Python: request predictions, send labels later.

    from driftline.client import Client

    with Client("http://127.0.0.1:3000") as flights:
        answer = flights.predict("flights", frame)     # a DataFrame or a list of dicts
        answer.labels, answer.probabilities
        flights.feedback(answer, labels)               # as soon as they are known

    Client("https://models.example.org", api_key="dl_...", verify="authority.pem")

`AsyncClient` does the same with `await`. An error reply is raised as ClientError with the
message of the service.
"""

import math
import os
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
import msgspec

Label = str | int | float | bool
Row = Mapping[str, Any]


class Frame(Protocol):
    """A DataFrame of pandas or a similar library; none is imported here."""

    def to_dict(self, orient: str) -> Any:
        """Return one dict per row for `orient="records"`."""
        ...


class ClientError(Exception):
    """An error reply; the message is that of the service, `status` the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        """Store status and message."""
        super().__init__(message)
        self.status = status


class RowPrediction(msgspec.Struct, frozen=True):
    """The prediction for one row."""

    label: Label | None
    probabilities: dict[str, float | None] = {}


class Prediction(msgspec.Struct, frozen=True):
    """The reply to one request; feedback refers to it by `prediction_id`."""

    model: str
    version: str
    prediction_id: str
    predictions: list[RowPrediction]

    @property
    def labels(self) -> list[Label | None]:
        """Return one label (or number) per row."""
        return [row.label for row in self.predictions]

    @property
    def probabilities(self) -> list[dict[str, float | None]]:
        """Return one mapping of class to probability per row; empty if the model has none."""
        return [row.probabilities for row in self.predictions]


def _predict_body(
    model: str, rows: Frame | Sequence[Row], version: str, event_time: str | int | None
) -> bytes:
    records = rows if isinstance(rows, Sequence) else rows.to_dict("records")
    spelled = [{name: _spelled(value) for name, value in row.items()} for row in records]
    body: dict[str, Any] = {"model": model, "version": version, "rows": spelled}
    if event_time is not None:
        body["event_time"] = event_time
    return msgspec.json.encode(body)  # NaN becomes null, the encoding of a missing value


def _spelled(value: Any) -> Any:
    """Return a value as JSON holds it: infinities as words, a NumPy scalar as Python's number."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str | int | float | bool | None):
        return value
    item = getattr(value, "item", None)  # of NumPy's scalars, without importing NumPy
    return value if item is None else _spelled(item())


def _feedback_body(
    prediction: Prediction | str, labels: Label | Sequence[Label], event_time: str | int | None
) -> bytes:
    name = prediction if isinstance(prediction, str) else prediction.prediction_id
    item: dict[str, Any] = {"prediction_id": name}
    if isinstance(labels, str | int | float | bool):
        item["label"] = labels
    else:
        item["labels"] = list(labels)
    if event_time is not None:
        item["event_time"] = event_time
    return msgspec.json.encode(item)


def _read(response: httpx.Response) -> bytes:
    if response.is_success:
        return response.content
    try:
        message = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        message = response.text
    raise ClientError(response.status_code, message)


Verify = bool | str | ssl.SSLContext


def _headers(api_key: str | None) -> dict[str, str]:
    key = os.environ.get("DRIFTLINE_API_KEY", "") if api_key is None else api_key
    authorization = {"authorization": f"Bearer {key}"} if key else {}
    return {"content-type": "application/json", **authorization}


def _traced() -> dict[str, str]:
    """Return trace headers of the caller, without importing OpenTelemetry for those without it."""
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry.propagate import inject  # noqa: PLC0415

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


@contextmanager
def _span(tracer: Any, name: str, model: str = "") -> Iterator[Callable[[str, str], None]]:
    """Record a span of the caller's tracer; yield a function that adds version and prediction id.

    It holds names and ids only, because error messages may quote a payload.
    """
    if tracer is None:
        yield lambda _version, _prediction_id: None
        return
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - installed where a tracer is

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
    """A blocking client with one persistent connection."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:3000",
        timeout: float = 10.0,
        *,
        api_key: str | None = None,
        verify: Verify = True,
        tracer: Any = None,
    ) -> None:
        """Create a client.

        `timeout` is in seconds per call. `api_key` defaults to DRIFTLINE_API_KEY. `verify` is a CA
        file, or an SSL context, which can hold a client certificate. With an OpenTelemetry tracer
        each call is a span; without one, the trace context of the caller is sent.
        """
        self._tracer = tracer
        self._http = httpx.Client(
            base_url=url, timeout=timeout, headers=_headers(api_key), verify=_verify(verify)
        )

    def predict(
        self,
        model: str,
        rows: Frame | Sequence[Row],
        *,
        version: str = "",
        event_time: str | int | None = None,
    ) -> Prediction:
        """Request predictions for rows; `version` is a number or an alias, by default champion.

        Raises ClientError for an error reply, httpx.HTTPError if the service is unreachable.
        """
        content = _predict_body(model, rows, version, event_time)
        with _span(self._tracer, "predict", model) as annotate:
            reply = self._http.post("/predict", content=content, headers=_traced())
            answer = msgspec.json.decode(_read(reply), type=Prediction)
            annotate(answer.version, answer.prediction_id)
        return answer

    def feedback(
        self,
        prediction: Prediction | str,
        labels: Label | Sequence[Label],
        *,
        event_time: str | int | None = None,
    ) -> None:
        """Send labels: one for a prediction of one row, else one per row."""
        content = _feedback_body(prediction, labels, event_time)
        with _span(self._tracer, "feedback"):
            _read(self._http.post("/v1/feedback", content=content, headers=_traced()))

    def close(self) -> None:
        """Close the connection."""
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
        """Close the connection."""
        self.close()


class AsyncClient:
    """The same client with `await`, for concurrent calls."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:3000",
        timeout: float = 10.0,
        *,
        api_key: str | None = None,
        verify: Verify = True,
        tracer: Any = None,
    ) -> None:
        """See Client."""
        self._tracer = tracer
        self._http = httpx.AsyncClient(
            base_url=url, timeout=timeout, headers=_headers(api_key), verify=_verify(verify)
        )

    async def predict(
        self,
        model: str,
        rows: Frame | Sequence[Row],
        *,
        version: str = "",
        event_time: str | int | None = None,
    ) -> Prediction:
        """See Client.predict."""
        content = _predict_body(model, rows, version, event_time)
        with _span(self._tracer, "predict", model) as annotate:
            reply = await self._http.post("/predict", content=content, headers=_traced())
            answer = msgspec.json.decode(_read(reply), type=Prediction)
            annotate(answer.version, answer.prediction_id)
        return answer

    async def feedback(
        self,
        prediction: Prediction | str,
        labels: Label | Sequence[Label],
        *,
        event_time: str | int | None = None,
    ) -> None:
        """See Client.feedback."""
        content = _feedback_body(prediction, labels, event_time)
        with _span(self._tracer, "feedback"):
            _read(await self._http.post("/v1/feedback", content=content, headers=_traced()))

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
