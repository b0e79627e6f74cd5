"""Cached predictions are logged like other predictions and need no run."""

import asyncio
from typing import Any

import pytest

from eventlog.errors import LogUnavailable
from registry.manifest import Version
from service.batching.cached_queue import CachedQueue
from service.batching.response_cache import ResponseCache
from service.completion import Completion
from service.models.routing import LoadedVersion
from service.models.tunable_version import caller_of
from service.protocol import json
from service.protocol.validation import InputCheck
from service.telemetry.statistics import VersionStatistics
from service.telemetry.tracing import RequestSpan
from tests.service.in_process import InProcessWorker
from tests.service.test_pipeline import BODY

OTHER = BODY.replace(b"[1, 2]}", b"[5, 2]}")


class _Remembering(InProcessWorker):
    """A worker whose versions remember their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.caches: list[ResponseCache] = []
        self.statistics = VersionStatistics("sums", "1")

    def load(self, found: Version) -> LoadedVersion:
        cache = ResponseCache(100_000)
        answering = Completion(found, self.log, self.statistics)
        self.caches.append(cache)
        plain = self.batcher(answering.batch)
        queue: Any = CachedQueue(plain, cache, answering.hits, answering, caller_of)
        return LoadedVersion(found, InputCheck(found.manifest, 100), queue)

    async def ask(self, body: bytes = BODY, authorization: bytes | None = None) -> Any:
        call = self.call("rest", "sums", "")
        call.authorization = authorization
        return await self.pipeline.infer(call, lambda _: json.decode_request(body))


@pytest.fixture
async def worker() -> _Remembering:
    worker = _Remembering()
    await worker.models.refresh()
    return worker


async def test_a_cache_hit_is_a_separate_prediction_marked_as_a_hit(worker: _Remembering) -> None:
    first, again, other = await worker.ask(), await worker.ask(), await worker.ask(OTHER)
    assert again.outputs == first.outputs != other.outputs
    assert again.parameters() == {"prediction_id": again.prediction_id, "cache_hit": True}
    assert "cache_hit" not in first.parameters()
    events = worker.appender.events
    assert [event.cache_hit for event in events] == [False, True, False]
    assert len({event.prediction_id for event in events}) == 3
    assert events[1].inputs == events[0].inputs
    assert events[1].outputs == events[0].outputs
    assert (events[1].batch_id, events[1].outcome, events[1].rows) == ("", "ok", 1)


async def test_hits_reveal_no_other_callers_request(worker: _Remembering) -> None:
    callers = (b"Bearer dl_a", b"Bearer dl_b", b"Bearer dl_", None)
    for _ in range(2):
        cached = [(await worker.ask(authorization=caller)).run.cached for caller in callers]
    assert cached == [True] * len(callers)
    others = [worker.ask(OTHER, caller) for caller in callers]
    assert [(await other).run.cached for other in others] == [False] * len(callers)


async def test_simultaneous_hits_share_one_write(worker: _Remembering) -> None:
    await worker.ask()
    await asyncio.gather(*(worker.ask() for _ in range(5)))
    assert [len(append) for append in worker.appender.appends] == [1, 5]


async def test_statistics_distinguish_hits_and_misses(worker: _Remembering) -> None:
    for body in (BODY, BODY, OTHER, BODY):
        await worker.ask(body)
    reported = worker.statistics.snapshot()
    stats = reported.inference_stats
    assert (stats.cache_hit.count, stats.cache_miss.count) == (2, 2)
    assert (stats.success.count, stats.queue.count, stats.compute_infer.count) == (4, 4, 2)
    assert (reported.inference_count, reported.execution_count) == (2, 2)
    assert stats.cache_hit.ns > 0 < stats.cache_miss.ns


async def test_no_hit_is_answered_while_the_log_accepts_no_events(worker: _Remembering) -> None:
    await worker.ask()
    worker.appender.broken = True
    with pytest.raises(LogUnavailable):
        await worker.ask()
    worker.appender.broken = False
    assert (await worker.ask()).run.cached


async def test_a_caller_that_cancels_a_hit_affects_no_other_request(
    worker: _Remembering,
) -> None:
    await worker.ask()
    leaving = asyncio.create_task(worker.ask())
    await asyncio.sleep(0)
    leaving.cancel()  # its future is cancelled now, its task hears of it after the hit
    staying = asyncio.create_task(worker.ask())
    assert (await staying).run.cached
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert {event.outcome for event in worker.appender.events} == {"ok"}


async def test_failed_requests_are_not_hits(worker: _Remembering) -> None:
    worker.appender.broken = True
    with pytest.raises(LogUnavailable):
        await worker.ask()
    worker.appender.broken = False
    assert not (await worker.ask()).run.cached


async def test_unloading_a_version_releases_its_cache(worker: _Remembering) -> None:
    await worker.ask()
    catalogue = worker.catalogue
    catalogue.put_away, catalogue.moves = {"sums": {"1"}}, 2
    await worker.models.refresh()
    catalogue.put_away, catalogue.moves = {}, 3
    await worker.models.refresh()
    assert not (await worker.ask()).run.cached
    assert len(worker.caches) == 2


class _Span:
    """A span that keeps the names of its parts."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def child(self, name: str, *_: Any) -> None:
        self.parts.append(name)

    def end(self, *_: Any, **__: Any) -> None:
        self.parts.append("end")


async def test_a_trace_distinguishes_a_hit_from_a_run(worker: _Remembering) -> None:
    spans = [_Span(), _Span()]
    for span in spans:
        call = worker.call("rest", "sums", "")
        call.trace = RequestSpan(span)  # type: ignore[arg-type]
        await worker.pipeline.infer(call, lambda _: json.decode_request(BODY))
    assert spans[0].parts == ["queue", "run", "log append", "end"]
    assert spans[1].parts == ["cache hit", "end"]
