"""Refused floods are not read, and share one write to the log."""

import asyncio
import threading
from typing import Any

import pytest

from eventlog.errors import LogUnavailable
from service.call import Call
from service.errors import Overloaded
from service.protocol import json
from tests.service.in_process import InProcessWorker
from tests.service.test_pipeline import BODY

_PLACES = 4  # of the worker's queue


class Flooded:
    """A worker whose runner is held, with one request that runs and a full queue behind it."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.worker = InProcessWorker(gate=self.held.wait)
        self.read = 0
        self._inside: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> "Flooded":
        await self.worker.models.refresh()
        self._inside = [asyncio.create_task(self.ask())]
        while not self.worker.batchers or self.worker.batchers[0].waiting or not self.read:
            await asyncio.sleep(0)
        self._inside += [asyncio.create_task(self.ask()) for _ in range(_PLACES)]
        while self.worker.batchers[0].waiting < _PLACES:
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.held.set()
        await asyncio.gather(*self._inside, return_exceptions=True)

    async def ask(self, call: Call | None = None) -> Any:
        def decode(_: object) -> Any:
            self.read += 1
            return json.decode_request(BODY)

        call = call or self.worker.call("rest", "sums", "")
        return await self.worker.pipeline.infer(call, decode)


async def test_refused_bodies_are_not_read_and_share_one_append() -> None:
    async with Flooded() as flooded:
        before = flooded.read
        outcomes = await asyncio.gather(*(flooded.ask() for _ in range(20)), return_exceptions=True)
        assert all(isinstance(outcome, Overloaded) for outcome in outcomes)
        assert flooded.read == before
        appends = flooded.worker.appender.appends
        assert [len(append) for append in appends] == [20]
        assert {event.outcome for event in flooded.worker.appender.events} == {"refused"}
        assert len({event.prediction_id for event in flooded.worker.appender.events}) == 20


async def test_a_caller_that_disconnects_before_its_refusal_has_one_event() -> None:
    async with Flooded() as flooded:
        call = flooded.worker.call("rest", "sums", "")
        reported: list[Any] = []
        flooded.worker.pipeline.submit(call, lambda _: json.decode_request(BODY), reported.append)
        flooded.worker.pipeline.cancel(call)
        with pytest.raises(Overloaded):
            await flooded.ask()
        assert reported == []
        outcomes = [event.outcome for event in flooded.worker.appender.events]
        assert outcomes == ["cancelled", "refused"]


async def test_a_refusal_that_cannot_be_logged_is_not_sent() -> None:
    async with Flooded() as flooded:
        flooded.worker.appender.broken = True
        with pytest.raises(LogUnavailable):
            await flooded.ask()
        flooded.worker.appender.broken = False
