"""Each request has one event in the log before its reply."""

import asyncio
import gc
from typing import Any

import pytest

from eventlog.errors import LogUnavailable
from registry.errors import UnknownModel
from service.errors import Expired, InvalidRequest, RunFailed
from service.protocol import json
from service.protocol.feedback import FeedbackLabel
from service.protocol.messages import InferRequest
from tests.service.in_process import Gate, InProcessWorker

BODY = (
    b'{"id": "mine", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]},'
    b'{"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}], "parameters": {}}'
)


@pytest.fixture
async def worker() -> InProcessWorker:
    worker = InProcessWorker()
    await worker.models.refresh()
    return worker


def _decode(body: bytes) -> Any:
    return lambda _: json.decode_request(body)


async def _infer(worker: InProcessWorker, body: bytes = BODY, model: str = "sums") -> Any:
    return await worker.pipeline.infer(worker.call("rest", model, ""), _decode(body))


async def test_simultaneous_requests_are_logged_in_one_append(
    worker: InProcessWorker,
) -> None:
    answers = await asyncio.gather(*(_infer(worker) for _ in range(4)))
    assert [len(append) for append in worker.appender.appends] == [4]
    assert [event.prediction_id for event in worker.appender.events] == [
        answer.prediction_id for answer in answers
    ]
    assert {(e.batch_rows, e.outputs["y"].data[0]) for e in worker.appender.events} == {(4, 3.0)}
    assert [e.batch_offset for e in worker.appender.events] == [0, 1, 2, 3]


async def test_no_reply_is_sent_while_the_log_accepts_no_events(worker: InProcessWorker) -> None:
    worker.appender.broken = True
    with pytest.raises(LogUnavailable):
        await _infer(worker)
    with pytest.raises(LogUnavailable):
        await _infer(worker, b"{")
    worker.appender.broken = False
    assert (await _infer(worker)).outputs["y"].data == [3.0]
    assert worker.appender.next_sequence == 1


async def test_a_refused_request_is_logged_with_its_reason(worker: InProcessWorker) -> None:
    with pytest.raises(UnknownModel):
        await _infer(worker, model="m" * 500)
    with pytest.raises(InvalidRequest):
        await _infer(worker, b"{")
    unknown, invalid = worker.appender.events
    assert (unknown.outcome, len(unknown.model), unknown.version) == ("invalid", 128, "")
    assert (invalid.outcome, invalid.version, invalid.request_id) == ("invalid", "1", "")
    assert "JSON" in invalid.reason


async def test_a_deadline_that_the_client_states_is_honoured(worker: InProcessWorker) -> None:
    late = BODY.replace(b'"parameters": {}', b'"parameters": {"timeout": 1}')
    with pytest.raises(Expired):
        await _infer(worker, late)
    assert worker.appender.events[0].outcome == "expired"


@pytest.mark.parametrize("stated", [b"0", b"true", b'"1s"', b"1" * 40])
async def test_an_invalid_deadline_is_refused(worker: InProcessWorker, stated: bytes) -> None:
    body = BODY.replace(b'"parameters": {}', b'"parameters": {"timeout": %s}' % stated)
    with pytest.raises(InvalidRequest, match="timeout"):
        await _infer(worker, body)


async def test_an_internal_error_is_a_failed_run_without_details(
    worker: InProcessWorker,
) -> None:
    def broken(_: Any) -> InferRequest:
        raise ZeroDivisionError("secret")

    with pytest.raises(RunFailed) as failed:
        await worker.pipeline.infer(worker.call("rest", "sums", ""), broken)
    assert "secret" not in str(failed.value)
    assert worker.appender.events[0].outcome == "failed"


async def test_a_disconnected_caller_is_one_cancelled_event() -> None:
    gate = Gate()
    worker = InProcessWorker(gate=gate)
    await worker.models.refresh()
    running = asyncio.create_task(_infer(worker))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaving = asyncio.create_task(_infer(worker))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open()
    await running
    assert [event.outcome for event in worker.appender.events] == ["cancelled", "ok"]


@pytest.mark.untraced
@pytest.mark.parametrize(("body", "cancelled"), [(BODY, False), (b"{", False), (BODY, True)])
async def test_a_request_leaves_no_garbage_to_the_collector(
    worker: InProcessWorker, body: bytes, cancelled: bool
) -> None:
    async def ask(times: int) -> None:
        for _ in range(times):
            call = worker.call("rest", "sums", "")
            worker.pipeline.submit(call, _decode(body), lambda _: None)
            if cancelled:
                worker.pipeline.cancel(call)
            await asyncio.sleep(0)

    await ask(1)
    gc.collect()
    gc.disable()
    try:
        await ask(50)
        assert gc.collect() < 50
    finally:
        gc.enable()


async def test_a_caller_that_cancels_as_the_batch_ends_affects_no_other_request(
    worker: InProcessWorker,
) -> None:
    leaving, staying = (asyncio.create_task(_infer(worker)) for _ in range(2))
    await asyncio.sleep(0)  # both wait, and the next turn answers both
    leaving.cancel()  # its future is cancelled now, its task hears of it after the batch
    assert (await staying).outputs["y"].data == [3.0]
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert [event.outcome for event in worker.appender.events] == ["ok", "ok"]


async def test_labels_are_logged_in_one_append(worker: InProcessWorker) -> None:
    worker.log.append_labels([FeedbackLabel("p", 0, 1, 5), FeedbackLabel("p", 1, 0, None)])
    (append,) = worker.appender.appends
    assert [(e.prediction_id, e.row, e.label) for e in append] == [("p", 0, 1), ("p", 1, 0)]
    assert append[0].time == 5
    assert append[1].time == append[1].received
