"""After SIGTERM, accepted requests are answered and logged, then the service ends."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from eventlog.events import HeartbeatEvent, PredictionEvent
from tests.service.conftest import Service

BODY = {
    "inputs": [
        {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
    ]
}


@pytest.fixture
def own_service(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Service]:
    with Service(tmp_path, free_port) as service:
        service.register()
        yield service


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_cleanly_and_the_log_contains_every_reply(
    own_service: Service, number: signal.Signals
) -> None:
    own_service.start()
    answered: list[str] = []

    def traffic() -> None:
        with httpx.Client(base_url=own_service.url, trust_env=False) as client:
            while True:
                try:
                    reply = client.post("/v2/models/tiny/infer", json=BODY)
                except httpx.HTTPError:
                    return
                if reply.status_code == 200:
                    answered.append(reply.json()["parameters"]["prediction_id"])

    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    own_service.until(lambda: len(answered) > 200)
    own_service.signal(number)
    assert own_service.stop() == 0
    for thread in threads:
        thread.join()
    events = [record.event for record in own_service.events()]
    logged = {event.prediction_id for event in events if isinstance(event, PredictionEvent)}
    assert set(answered) <= logged
    beats = [record.event for record in own_service.records()]
    ends = {beat.shard: beat for beat in beats if isinstance(beat, HeartbeatEvent)}  # the last ones
    assert ends[events[0].shard].predictions == len(events)
    assert {beat.next_us for beat in ends.values()} == {0}


def test_a_reachable_address_without_keys_is_refused_with_the_remedy(own_service: Service) -> None:
    own_service.environment["DRIFTLINE_SERVICE_HOST"] = "0.0.0.0"
    with pytest.raises(AssertionError) as ended:
        own_service.start()
    assert "--allow-anonymous" in str(ended.value)
    assert own_service.stop() == 1
