"""Requests that are cancelled or expire in the queue never run and are counted."""

import asyncio
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from service.errors import Expired
from service.protocol import json
from service.telemetry import metrics
from service.telemetry.statistics import Statistics
from tests.service.in_process import Gate, InProcessWorker, version
from tests.service.test_pipeline import BODY


class _Gated(InProcessWorker):
    """A worker whose runs wait at a gate, and whose failures are counted."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.statistics = Statistics()
        super().__init__(gate=self.gate, count_failure=self.statistics.record_failure)

    def ask(self, timeout_us: int | None = None) -> "asyncio.Task[Any]":
        stated = b"{}" if timeout_us is None else b'{"timeout": %d}' % timeout_us
        body = BODY.replace(b'"parameters": {}', b'"parameters": ' + stated)
        call = self.call("rest", "sums", "")
        return asyncio.create_task(self.pipeline.infer(call, lambda _: json.decode_request(body)))


async def test_cancelled_and_expired_requests_are_counted_and_never_run() -> None:
    worker = _Gated()
    await worker.models.refresh()
    running = worker.ask()
    while not worker.gate.runs:  # in its thread
        await asyncio.sleep(0.001)
    leaving, expiring = worker.ask(), worker.ask(timeout_us=1)
    await asyncio.sleep(0)
    leaving.cancel()
    running_left = worker.ask()
    await asyncio.sleep(0)
    worker.gate.open()
    await running
    await running_left
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with pytest.raises(Expired):
        await expiring
    assert worker.drops == {"cancelled": 1, "expired": 1}
    assert worker.gate.runs == 2
    outcomes = {event.outcome: event for event in worker.appender.events}
    assert "did not run" in outcomes["cancelled"].reason
    for dropped in ("cancelled", "expired"):
        event = outcomes[dropped]
        assert (event.batch_id, event.run_us, event.outputs) == ("", 0, {})
    reported = worker.statistics.of(version()).snapshot()
    assert (reported.inference_stats.fail.count, reported.execution_count) == (2, 0)


async def test_a_caller_that_cancels_during_the_run_is_not_a_drop() -> None:
    worker = _Gated()
    await worker.models.refresh()
    leaving = worker.ask()
    while not worker.gate.runs:
        await asyncio.sleep(0.001)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    worker.gate.open()
    assert (await worker.ask()).outputs["y"].data == [3.0]
    assert worker.drops == {}
    assert worker.appender.events[0].reason == "the caller cancelled before the response"


def test_the_metric_names_version_and_reason() -> None:
    count = partial(metrics.count_drop, version("7", "dropping"))
    count("expired")
    count("expired")
    metrics.flush()
    labels = {"model": "dropping", "version": "7", "reason": "expired"}
    assert REGISTRY.get_sample_value("driftline_requests_dropped_total", labels) == 2
