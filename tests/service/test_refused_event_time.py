"""A refused request keeps the event time that its caller stated."""

from contextlib import nullcontext
from math import inf

import httpx
import pytest

from service.call_factory import CallFactory
from service.errors import InvalidRequest
from service.protocol import json
from service.rest.asgi import Receive, Scope, Send
from service.rest.predict import PredictMiddleware
from tests.service.in_process import InProcessWorker

STATED = 1_372_636_800_000_000


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError("another route was called")


@pytest.mark.parametrize("rows", ['[{"renamed": 1}]', "[]", '[{"x": {}}]', "{}", '[{"renamed"'])
async def test_rows_that_do_not_fit_are_logged_under_their_event_time(rows: str) -> None:
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
async def test_tensors_that_do_not_fit_are_logged_under_their_event_time(tensor: str) -> None:
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
async def test_an_event_time_ahead_of_the_clock_is_refused_and_not_logged_as_such(
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
