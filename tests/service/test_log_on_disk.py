"""Replies wait for durable events, and a full disk refuses work before the run."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.grpc as triton_grpc

from eventlog.errors import LogUnavailable
from service.protocol import json
from tests.service.conftest import Service
from tests.service.in_process import InProcessWorker
from tests.small_disk import fill, mounted

BODY = {
    "inputs": [
        {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
    ]
}
SUMS = (
    b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]},'
    b'{"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'
)


@pytest.fixture
async def worker() -> InProcessWorker:
    worker = InProcessWorker()
    await worker.models.refresh()
    worker.appender.waits_for_disk = True
    return worker


def _ask(worker: InProcessWorker, body: bytes = SUMS) -> "asyncio.Task[Any]":
    call = worker.call("rest", "sums", "")
    return asyncio.create_task(worker.pipeline.infer(call, lambda _: json.decode_request(body)))


async def _logged(worker: InProcessWorker, events: int) -> None:
    async with asyncio.timeout(180):
        while worker.appender.next_sequence < events:
            await asyncio.sleep(0)


async def test_no_reply_leaves_before_its_event_is_on_disk(worker: InProcessWorker) -> None:
    asked = [_ask(worker), _ask(worker), _ask(worker, b"{")]
    await _logged(worker, 3)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in asked)
    worker.appender.fsynced()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [getattr(answer, "outputs", {}).keys() for answer in answers] == [{"y"}, {"y"}, set()]


async def test_an_event_that_cannot_be_written_fails_its_request(worker: InProcessWorker) -> None:
    asked = _ask(worker)
    await _logged(worker, 1)
    worker.appender.fsynced(LogUnavailable("fsync failed"))
    with pytest.raises(LogUnavailable, match="fsync failed"):
        await asked


async def test_a_cancelled_caller_gets_no_reply_after_the_write(worker: InProcessWorker) -> None:
    asked = _ask(worker)
    await _logged(worker, 1)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    worker.appender.fsynced()
    assert worker.appender.next_sequence == 1


async def test_a_full_log_refuses_before_the_run_and_writes_nothing() -> None:
    ran = []
    worker = InProcessWorker(gate=lambda: ran.append(1))
    await worker.models.refresh()
    worker.appender.full = True
    assert not worker.pipeline.ready
    with pytest.raises(LogUnavailable, match="disk is full"):
        await _ask(worker)
    assert (ran, worker.appender.events) == ([], [])
    worker.appender.full = False
    assert worker.pipeline.ready
    assert (await _ask(worker)).outputs["y"].data == [3.0]


@pytest.fixture(scope="module")
def cramped(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    """A service with durability = disk, whose log lies on a disk of four megabytes."""
    root = tmp_path_factory.mktemp("cramped")
    with mounted(root / "home" / "log", 4 << 20), Service(root, free_port) as service:
        service.environment["DRIFTLINE_LOG_DURABILITY"] = "disk"
        service.register()
        service.start()
        yield service


def test_a_service_on_a_full_disk_is_not_ready_refuses_and_recovers(cramped: Service) -> None:
    def ask() -> httpx.Response:
        return cramped.http.post("/v2/models/tiny/infer", json=BODY)

    assert ask().status_code == 200
    ballast: Path = fill(cramped.home.log)
    answered = 1
    while (reply := ask()).status_code == 200:
        answered += 1
        assert answered < 5000
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert "disk is full" in reply.json()["error"]
    ready = cramped.http.get("/v2/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{cramped.grpc_port}") as client:
        assert not client.is_server_ready()
        assert client.is_server_live()
    label = {"prediction_id": "x", "label": 1}
    assert cramped.http.post("/v1/feedback", json=label).status_code == 503
    assert len(cramped.events()) == answered

    ballast.unlink()
    cramped.until(lambda: cramped.http.get("/v2/health/ready").is_success)
    assert ask().status_code == 200
    assert cramped.http.post("/v1/feedback", json=label).status_code == 200
    assert len(cramped.events()) == answered + 2
