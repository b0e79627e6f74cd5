"""The client says what was asked and reads what was answered."""

from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import pytest

from driftline import AsyncClient, Client, ClientError

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
        if body.get("model") == "none":
            return httpx.Response(404, json={"error": "no model 'none'; there is flights"})
        return httpx.Response(200, json=ANSWER if "rows" in body else {"accepted": 1})


@pytest.fixture
def service() -> Service:
    return Service()


def _client(service: Service) -> Client:
    client = Client()
    client._http = httpx.Client(base_url="http://x", transport=httpx.MockTransport(service))  # noqa: SLF001  # a transport in place of a socket
    return client


def test_a_frame_is_asked_row_by_row_and_missing_values_travel_as_null(service: Service) -> None:
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


def test_infinities_travel_as_words_and_scalars_of_numpy_as_numbers(service: Service) -> None:
    row = {"distance": float("inf"), "delay": np.float32("-inf"), "count": np.int64(2**53 + 1)}
    _client(service).predict("flights", [row | {"carrier": "UA"}])
    assert service.asked[0][1]["rows"] == [
        {"distance": "Infinity", "delay": "-Infinity", "count": 2**53 + 1, "carrier": "UA"}
    ]


def test_feedback_takes_an_answer_or_its_id_and_one_label_or_many(service: Service) -> None:
    client = _client(service)
    answer = client.predict("flights", [{"distance": 1.0}])
    client.feedback(answer, [1, 0])
    client.feedback("p-9", 1, event_time="2013-07-01T00:00:00Z")
    assert [body for path, body in service.asked if path == "/v1/feedback"] == [
        {"prediction_id": "p-1", "labels": [1, 0]},
        {"prediction_id": "p-9", "label": 1, "event_time": "2013-07-01T00:00:00Z"},
    ]


def test_a_refusal_is_raised_in_the_words_of_the_service(service: Service) -> None:
    with pytest.raises(ClientError, match="no model 'none'; there is flights") as refused:
        _client(service).predict("none", [{}])
    assert refused.value.status == 404


async def test_the_asynchronous_client_does_the_same(service: Service) -> None:
    client = AsyncClient()
    client._http = httpx.AsyncClient(base_url="http://x", transport=httpx.MockTransport(service))  # noqa: SLF001  # a transport in place of a socket
    answer = await client.predict("flights", [{"distance": 1.0}])
    await client.feedback(answer, [1, 0])
    assert [path for path, _ in service.asked] == ["/predict", "/v1/feedback"]
    await client.close()
