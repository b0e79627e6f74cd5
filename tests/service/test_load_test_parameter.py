"""Requests of a load test are marked, and so are their events."""

import pytest

from service.errors import InvalidRequest
from service.protocol import json
from tests.service.in_process import InProcessWorker


def _body(load_test: str) -> bytes:
    return (
        '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]},'
        '{"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}],'
        f'"parameters": {{"load_test": {load_test}}}}}'
    ).encode()


@pytest.mark.parametrize(("stated", "marked"), [("true", True), ("false", False), ("null", False)])
async def test_the_event_is_marked(stated: str, marked: bool) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    call = worker.call("rest", "sums", "")
    await worker.pipeline.infer(call, lambda _: json.decode_request(_body(stated)))
    (event,) = worker.appender.events
    assert event.load_test is marked


@pytest.mark.parametrize("stated", ["1", '"true"'])
async def test_another_value_is_refused(stated: str) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    call = worker.call("rest", "sums", "")
    with pytest.raises(InvalidRequest, match="parameter load_test: expected true or false"):
        await worker.pipeline.infer(call, lambda _: json.decode_request(_body(stated)))
