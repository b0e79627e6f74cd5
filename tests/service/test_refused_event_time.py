"""The event of a refused request has the client's event time."""

import asyncio
from contextlib import nullcontext
from functools import partial
from math import inf
from typing import Any

import httpx
import pytest

from registry.errors import UnknownVersion
from service.call_factory import CallFactory
from service.errors import InvalidRequest
from service.protocol import json, protobuf
from service.protocol import open_inference_pb2 as pb
from service.rest.asgi import Receive, Scope, Send
from service.rest.exchange import Exchange
from service.rest.head import read_head
from service.rest.predict import PredictMiddleware
from tests.service.in_process import Gate, InProcessWorker

STATED = 1_372_636_800_000_000


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError("another route was called")


@pytest.mark.parametrize("rows", ['[{"renamed": 1}]', "[]", '[{"x": {}}]', "{}", '[{"renamed"'])
async def test_refused_rows_are_logged_under_their_event_time(rows: str) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    transport = httpx.ASGITransport(app=PredictMiddleware(_nothing, lambda: worker.inference))
    body = f'{{"model": "sums", "event_time": {STATED}, "rows": {rows}}}'
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        reply = await client.post(
            "/predict", content=body, headers={"content-type": "application/json"}
        )
    assert reply.status_code == 400
    (event,) = worker.appender.events
    assert event.outcome == "invalid"
    assert (event.time == STATED) == (rows != '[{"renamed"'), "what is no JSON states nothing"


@pytest.mark.parametrize("tensor", ['"name": "renamed"', '"name": "x"'])
async def test_refused_tensors_are_logged_under_their_event_time(tensor: str) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    body = (
        f'{{"inputs": [{{{tensor}, "datatype": "FP32", "shape": [1, 2], "data": ["a", 2]}}],'
        f'"parameters": {{"event_time": {STATED}}}}}'
    ).encode()
    call = worker.call("rest", "sums", "")
    with pytest.raises(InvalidRequest):
        await worker.pipeline.infer(call, lambda _: json.decode_request(body))
    (event,) = worker.appender.events
    assert event.time == STATED


@pytest.mark.parametrize(("ahead", "answered"), [(300, True), (301, False), (30 * 86_400, False)])
async def test_an_event_time_in_the_future_is_refused_and_not_used_in_the_log(
    ahead: int, answered: bool
) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    new_call = CallFactory(inf, now=lambda: STATED, event_time_ahead=300_000_000)
    stated = STATED + ahead * 1_000_000
    body = (
        '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]},'
        '{"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}],'
        f'"parameters": {{"event_time": {stated}}}}}'
    ).encode()
    refusal = pytest.raises(
        InvalidRequest,
        match=rf"^event_time is {stated}, {ahead} seconds ahead of the clock; "
        r"expected at most 300 \(DRIFTLINE_SERVICE_EVENT_TIME_AHEAD_S\)$",
    )
    with nullcontext() if answered else refusal:
        await worker.pipeline.infer(
            new_call("rest", "sums", ""), lambda _: json.decode_request(body)
        )
    (event,) = worker.appender.events
    assert (event.outcome, event.time) == (("ok", stated) if answered else ("invalid", STATED))


_INPUTS = '"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]'
_STATED = f'"parameters": {{"event_time": {STATED}, "load_test": true}}'


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (f"{{{_INPUTS}, {_STATED}}}", True),  # an input is missing
        (f'{{"inputs": [{{"name": "x"}}], {_STATED}}}', True),
        (f'{{"inputs": {{}}, {_STATED}}}', True),
        (f'{{"inputs": [[NaN, Infinity]], {_STATED}}}', True),
        (f'{{{_INPUTS}, {_STATED}, "outputs": [{{"name": "none"}}]}}', True),
        (f'{{{_INPUTS}, "parameters": {{"load_test": 1, "event_time": {STATED}}}}}', None),
        (f'{{{_INPUTS}, "parameters": {{"timeout": -1, "event_time": {STATED}}}}}', None),
        (f"{{{_INPUTS}, {_STATED}", False),
        (f'{{{_INPUTS}, "parameters": {{"event_time": "noon", "load_test": true}}}}', False),
    ],
)
async def test_a_refused_protocol_request_is_logged_with_its_parameters(
    body: str, kept: bool | None
) -> None:
    """`kept` is None where a load test is not stated as such."""
    (event,) = await _exchanged(InProcessWorker(), body.encode())
    assert event.outcome == "invalid"
    assert (event.time == STATED) == (kept is not False)
    assert event.load_test == (kept is True or "noon" in body)


async def test_a_request_refused_by_a_full_queue_is_logged_with_its_parameters() -> None:
    gate = Gate()
    worker = InProcessWorker(gate)
    await worker.models.refresh()
    body = (
        f'{{"inputs": [{{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}},'
        f'{{"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}}], {_STATED}}}'
    ).encode()
    exchanges = [_begin(worker, body) for _ in range(40)]
    await asyncio.sleep(0)
    gate.open()
    while not all(channel.replies for channel in exchanges):
        await asyncio.sleep(0.001)
    refused = [event for event in worker.appender.events if event.outcome == "refused"]
    assert refused
    assert {(event.time, event.load_test) for event in refused} == {(STATED, True)}


@pytest.mark.parametrize("selector", ["", "9"])
async def test_a_refused_grpc_message_is_logged_with_its_parameters(selector: str) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    message = pb.ModelInferRequest(model_name="sums", model_version=selector)
    message.inputs.add(name="renamed", datatype="FP32", shape=[1, 2])
    message.parameters["event_time"].int64_param = STATED
    call = worker.call("grpc", "sums", selector)
    stated = partial(protobuf.read_parameters, message)
    with pytest.raises((InvalidRequest, UnknownVersion)):
        await worker.pipeline.infer(call, lambda _: protobuf.decode_request(message), stated)
    (event,) = worker.appender.events
    assert event.time == STATED


class Channel:
    """A connection that keeps its replies."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []

    def write(self, data: bytes) -> None:
        raise AssertionError(data)

    def reply(self, exchange: Exchange, message: list[bytes]) -> None:
        self.replies.append(b"".join(message))


def _begin(worker: InProcessWorker, body: bytes) -> Channel:
    channel = Channel()
    head = read_head("sums", "", [(b"content-length", b"%d" % len(body))], keep_alive=True)
    exchange = Exchange(channel, worker.inference, head)
    exchange.begin()
    exchange.feed(body)
    exchange.end()
    return channel


async def _exchanged(worker: InProcessWorker, body: bytes) -> list[Any]:
    await worker.models.refresh()
    channel = _begin(worker, body)
    while not channel.replies:
        await asyncio.sleep(0.001)
    assert b" 400 " in channel.replies[0].split(b"\r\n")[0]
    return worker.appender.events
