"""The Python client sends requests as documented and reads the replies."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import pytest

from driftline import AsyncClient, Client, ClientError, NoReply, RequestId, Unreachable
from driftline.client_bodies import MOST_LABELS

ANSWER = {
    "model": "flights",
    "version": "2",
    "prediction_id": "p-1",
    "predictions": [
        {"label": 1, "probabilities": {"0": 0.25, "1": 0.75}},
        {"label": 0, "probabilities": {"0": 0.5, "1": 0.5}},
    ],
}


class Service:
    """Answers as the service does and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(request.content)
        self.asked.append((request.url.path, body))
        if isinstance(body, list):
            return httpx.Response(200, json={"accepted": len(body)})
        if body.get("model") == "none":
            return httpx.Response(404, json={"error": "no model 'none'; there is flights"})
        return httpx.Response(200, json=ANSWER if "rows" in body else {"accepted": 1})


@pytest.fixture
def service() -> Service:
    return Service()


def _client(service: Callable[[httpx.Request], httpx.Response], **options: Any) -> Client:
    return Client("http://x", transport=httpx.MockTransport(service), **options)


def test_a_data_frame_is_sent_as_rows_with_null_for_missing_values(service: Service) -> None:
    frame = pd.DataFrame({"distance": [100.0, None], "carrier": ["UA", "B6"]})
    answer = _client(service).predict("flights", frame, version="champion", event_time=17)
    assert service.asked == [
        (
            "/predict",
            {
                "model": "flights",
                "version": "champion",
                "rows": [
                    {"distance": 100.0, "carrier": "UA"},
                    {"distance": None, "carrier": "B6"},
                ],
                "event_time": 17,
            },
        )
    ]
    assert answer.labels == [1, 0]
    assert answer.probabilities[0] == {"0": 0.25, "1": 0.75}


def test_infinities_are_sent_as_strings_and_numpy_scalars_as_numbers(service: Service) -> None:
    row = {"distance": float("inf"), "delay": np.float32("-inf"), "count": np.int64(2**53 + 1)}
    _client(service).predict("flights", [row | {"carrier": "UA"}])
    assert service.asked[0][1]["rows"] == [
        {"distance": "Infinity", "delay": "-Infinity", "count": 2**53 + 1, "carrier": "UA"}
    ]


def test_feedback_accepts_a_prediction_or_its_id_with_one_label_or_many(service: Service) -> None:
    client = _client(service)
    answer = client.predict("flights", [{"distance": 1.0}])
    client.feedback(answer, [1, 0])
    client.feedback("p-9", 1, event_time="2013-07-01T00:00:00Z")
    assert [body for path, body in service.asked if path == "/v1/feedback"] == [
        {"prediction_id": "p-1", "labels": [1, 0]},
        {"prediction_id": "p-9", "label": 1, "event_time": "2013-07-01T00:00:00Z"},
    ]


def test_a_refusal_raises_an_error_with_the_services_message(service: Service) -> None:
    with pytest.raises(ClientError, match="no model 'none'; there is flights") as refused:
        _client(service).predict("none", [{}])
    assert refused.value.status == 404


async def test_the_asynchronous_client_behaves_like_the_synchronous_client(
    service: Service,
) -> None:
    client = AsyncClient("http://x", transport=httpx.MockTransport(service))
    answer = await client.predict("flights", [{"distance": 1.0}])
    await client.feedback(answer, [1, 0])
    assert [path for path, _ in service.asked] == ["/predict", "/v1/feedback"]
    await client.close()


class PolarsFrame:
    """The part of polars' DataFrame that the client uses."""

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"distance": 1.0}, {"distance": None}]

    def to_dict(self, *, as_series: bool = True) -> Any:
        raise AssertionError(as_series)


def test_rows_of_polars_are_read(service: Service) -> None:
    _client(service).predict("flights", PolarsFrame())  # type: ignore[arg-type]
    assert service.asked[0][1]["rows"] == [{"distance": 1.0}, {"distance": None}]


def test_a_single_dict_is_refused(service: Service) -> None:
    with pytest.raises(TypeError, match=r"expected a DataFrame or a list of dicts, got one dict"):
        _client(service).predict("flights", {"distance": 1.0})  # type: ignore[arg-type]


def test_columns_of_any_type_are_sent_and_missing_values_become_null(
    service: Service,
) -> None:
    moment = datetime(2013, 7, 1, tzinfo=UTC)
    frame = pd.DataFrame({"at": [moment, None], "n": pd.array([1, None], dtype="Int64")})
    _client(service).predict("flights", frame.assign(price=Decimal("1.5"), tags=[["a"], ["b"]]))
    assert service.asked[0][1]["rows"] == [
        {"at": "2013-07-01 00:00:00+00:00", "n": 1, "price": "1.5", "tags": "['a']"},
        {"at": None, "n": None, "price": "1.5", "tags": "['b']"},
    ]


def test_a_version_is_a_number_or_an_alias_and_a_time_a_datetime(service: Service) -> None:
    moment = datetime(2013, 7, 1, 12, tzinfo=UTC)
    _client(service).predict("flights", [{}], version=1, event_time=moment)
    body = service.asked[0][1]
    assert (body["version"], body["event_time"]) == ("1", 1_372_680_000_000_000)


def test_a_datetime_without_a_zone_is_refused(service: Service) -> None:
    with pytest.raises(ValueError, match="2013-07-01 00:00:00 has no time zone; add tzinfo"):
        _client(service).feedback("p-1", 1, event_time=datetime(2013, 7, 1))  # noqa: DTZ001
    assert service.asked == []


@pytest.mark.parametrize(
    "labels", [np.array([1, 0]), pd.Series([1, 0]), [np.int64(1), np.int64(0)], (1, 0)]
)
def test_labels_can_be_arrays_and_series(service: Service, labels: Any) -> None:
    _client(service).feedback("p-1", labels)
    assert service.asked[0][1] == {"prediction_id": "p-1", "labels": [1, 0]}


def test_a_numpy_scalar_is_one_label(service: Service) -> None:
    for label in (np.float32(1.5), np.bool_(True), np.str_("late")):
        _client(service).feedback("p-1", label)
    assert [body["label"] for _, body in service.asked] == [1.5, True, "late"]


@pytest.mark.parametrize(("labels", "number"), [(1, 1), ([1], 1), ([1, 0, 1], 3), ([], 0)])
def test_as_many_labels_as_rows_are_expected(service: Service, labels: Any, number: int) -> None:
    client = _client(service)
    answer = client.predict("flights", [{}, {}])
    with pytest.raises(
        ValueError, match=f"p-1 has 2 rows; expected the same number of labels, got {number}"
    ):
        client.feedback(answer, labels)
    assert len(service.asked) == 1


def test_a_prediction_has_the_callers_request_id(service: Service) -> None:
    client = _client(service)
    client.predict("flights", [{}], request_id="order-17")
    client.feedback(RequestId("flights", "order-17"), 1)
    assert service.asked[0][1]["request_id"] == "order-17"
    assert service.asked[1][1] == {"model": "flights", "request_id": "order-17", "label": 1}


def test_a_routing_key_is_sent_only_if_it_is_stated(service: Service) -> None:
    client = _client(service)
    for key in ("user-17", 0, ""):
        client.predict("flights", [{}], routing_key=key)
    assert [body.get("routing_key") for _, body in service.asked] == ["user-17", 0, None]


def test_many_labels_are_sent_in_few_requests(service: Service) -> None:
    items = [(f"p-{n}", [0, 1]) for n in range(MOST_LABELS // 2 + 1)]
    assert _client(service).feedback_many(items) == len(items)
    sizes = [len(body) for _, body in service.asked]
    assert sizes == [MOST_LABELS // 2, 1]


class Failing:
    """Answer in turn as `outcomes` say: with an error, or a status and Retry-After."""

    def __init__(self, *outcomes: type[httpx.TransportError] | tuple[int, str]) -> None:
        self.left = list(outcomes)
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        outcome = self.left.pop(0) if self.left else (200, "")
        if isinstance(outcome, tuple):
            status, after = outcome
            body = ANSWER if status == 200 else {"error": "busy"}
            return httpx.Response(status, json=body, headers={"retry-after": after})
        raise outcome("no luck", request=request)


REFUSED, TIMED_OUT, LOST = httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError


@pytest.mark.parametrize(
    ("outcomes", "pauses"),
    [
        ([(503, "3"), (429, "0")], [3.0, 0.2]),
        ([REFUSED, httpx.ConnectTimeout], [0.1, 0.2]),
    ],
)
def test_an_unprocessed_request_is_retried(outcomes: Any, pauses: list[float]) -> None:
    failing = Failing(*outcomes)
    answer = _client(failing, sleep=failing.pauses.append).predict("flights", [{}])
    assert (answer.prediction_id, failing.pauses) == ("p-1", pauses)


@pytest.mark.parametrize(
    ("outcomes", "kind", "words"),
    [
        ([REFUSED] * 3, Unreachable, r"http://x: cannot connect \(no luck\); is `driftline up`"),
        ([httpx.ConnectTimeout] * 3, Unreachable, "http://x: no connection within 10 seconds"),
        ([TIMED_OUT], NoReply, "http://x: no reply within 10 seconds"),
        ([LOST], NoReply, r"http://x: the connection was lost \(no luck\)"),
        ([(503, "60")], ClientError, "busy"),
        ([(500, "0")], ClientError, "busy"),
        ([(503, "0")] * 3, ClientError, "busy"),
    ],
)
def test_a_possibly_processed_request_is_not_retried(
    outcomes: Any, kind: type[ClientError], words: str
) -> None:
    failing = Failing(*outcomes)
    with pytest.raises(kind, match=words):
        _client(failing, sleep=failing.pauses.append).predict("flights", [{}])
    assert (failing.left, len(failing.pauses)) == ([], len(outcomes) - 1)


async def test_labels_and_predictions_with_request_ids_are_retried_after_a_lost_reply() -> None:
    failing = Failing(TIMED_OUT, LOST, (200, ""), TIMED_OUT, LOST)

    async def sleep(seconds: float) -> None:
        failing.pauses.append(seconds)

    client = AsyncClient("http://x", transport=httpx.MockTransport(failing), sleep=sleep)
    await client.feedback("p-1", 1)
    await client.predict("flights", [{}], request_id="order-17")
    assert failing.left == []
    await client.close()
