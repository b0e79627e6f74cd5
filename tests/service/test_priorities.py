"""The order of queued requests, and the priorities that a request may state."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.manifest import QueueLimits
from service.batching.admission import Admission
from service.batching.order import AgingQueue, FifoQueue
from service.batching.policy import BatchPolicy
from service.batching.queue_limits import admissions_of
from service.errors import InvalidRequest, Overloaded
from service.protocol import json
from service.settings import Settings
from tests.service.in_process import InProcessWorker
from tests.service.test_batching import BatchBench
from tests.service.test_pipeline import BODY

LEVELS, STEP = 3, 10


@dataclass(eq=False)
class StubJob:
    queued: float
    level: int


# How long after the one before each comes, and its level.
arrivals = st.lists(st.tuples(st.integers(0, 15), st.integers(0, LEVELS - 1)), max_size=40)


def _arrive(stated: list[tuple[int, int]]) -> list[StubJob]:
    now, jobs = 0, []
    for gap, level in stated:
        now += gap
        jobs.append(StubJob(now, level))
    return jobs


def _drained(queue: AgingQueue[StubJob]) -> list[StubJob]:
    return [queue.popleft() for _ in range(len(queue))]


@given(arrivals)
def test_no_request_is_overtaken_by_a_much_later_request(stated: list[tuple[int, int]]) -> None:
    queue: AgingQueue[StubJob] = AgingQueue(LEVELS, STEP)
    jobs = _arrive(stated)
    for job in jobs:
        queue.append(job)
    order = list(queue)
    assert _drained(queue) == order
    for place, job in enumerate(order):
        for later in order[place + 1 :]:
            if later.queued < job.queued:  # it was overtaken
                assert job.level < later.level
                assert job.queued - later.queued <= STEP * (later.level - job.level)


@given(arrivals)
def test_requests_of_one_priority_run_in_order_of_arrival(stated: list[tuple[int, int]]) -> None:
    queue: AgingQueue[StubJob] = AgingQueue(LEVELS, STEP)
    jobs = _arrive(stated)
    for job in jobs:
        queue.append(job)
    order = _drained(queue)
    for level in range(LEVELS):
        assert [j for j in order if j.level == level] == [j for j in jobs if j.level == level]


@given(arrivals.filter(bool), st.data())
def test_both_queue_orders_implement_the_same_interface(
    stated: list[tuple[int, int]], data: st.DataObject
) -> None:
    one: FifoQueue[StubJob] = FifoQueue()
    several: AgingQueue[StubJob] = AgingQueue(LEVELS, STEP)
    jobs = [StubJob(job.queued, 0) for job in _arrive(stated)]
    for job in jobs:
        one.append(job)
        several.append(job)
    gone = data.draw(st.sampled_from(jobs))
    for queue in (one, several):
        queue.remove(gone)
        with pytest.raises(ValueError, match="not in deque"):
            queue.remove(gone)
    assert list(one) == list(several)
    assert len(one) == len(several) == len(jobs) - 1
    if one:
        assert one.oldest == several.oldest
        assert one.popleft() is several.popleft()


@given(st.integers(0, 2**62), st.integers(1, 16), st.data())
def test_every_priority_has_a_level(priority: int, levels: int, data: st.DataObject) -> None:
    default = data.draw(st.integers(1, levels))
    level = BatchPolicy(1, levels=levels, default_level=default).level(priority)
    assert level == (priority - 1 if 1 <= priority <= levels else default - 1)


async def test_a_higher_priority_runs_first_without_starving_lower_ones() -> None:
    bench = BatchBench(limits=BatchPolicy(1, levels=2, default_level=2, step=10.0))
    first = bench.ask(1)
    await asyncio.sleep(0)  # it runs
    low, high = bench.ask(2, priority=2), bench.ask(3, priority=1)
    bench.now = 11.0
    late = bench.ask(4, priority=1)
    for expected in (first, high, low, late):
        bench.executor.release()
        await expected
        await asyncio.sleep(0)
    assert not bench.batcher.waiting
    assert [admission.requests for admission in bench.admissions] == [0, 0]


async def test_a_flood_of_a_low_priority_does_not_delay_a_higher_priority() -> None:
    bench = BatchBench(
        limits=BatchPolicy(1, levels=2, default_level=2, step=10.0),
        admissions=admissions_of(
            "tiny", QueueLimits(priority_levels=2, max_requests=2, max_wait_ms=1_500), Settings()
        ),
    )
    bench.admissions[0].record_batch(1, 5.0)  # a row is thought to take a second
    for number in (1, 2):
        bench.ask(number)
    with pytest.raises(Overloaded, match="is full"):
        bench.ask(3)
    bench.ask(4, priority=1)
    assert bench.admissions[0].wait == 1.0
    assert bench.admissions[1].wait == 3.0
    bench.batcher.check_capacity()  # one of the levels may still have room


def test_admission_counts_requests_that_run_earlier() -> None:
    first = Admission("tiny", 10, 1_000)
    second = Admission("tiny", 10, 1_000, max_wait=1.0, ahead=first)
    first.record_batch(1, 5.0)
    for _ in range(2):
        first.admit(8, 1)
    second.admit(8, 1)  # an empty door takes one whatever is ahead
    with pytest.raises(Overloaded, match=r"about 3.00 s"):
        second.admit(8, 1)


@pytest.mark.parametrize("stated", [b"-1", b"true", b'"high"', b"1.5", b"1" * 30])
async def test_an_invalid_priority_is_refused(stated: bytes) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    body = BODY.replace(b'"parameters": {}', b'"parameters": {"priority": %s}' % stated)
    with pytest.raises(InvalidRequest, match="priority"):
        await worker.pipeline.infer(
            worker.call("rest", "sums", ""), lambda _: json.decode_request(body)
        )


@pytest.mark.parametrize("stated", [0, 1, 7])
async def test_every_priority_is_accepted_if_there_is_only_one_level(stated: int) -> None:
    worker = InProcessWorker()
    await worker.models.refresh()
    body = BODY.replace(b'"parameters": {}', b'"parameters": {"priority": %d}' % stated)
    call = worker.call("rest", "sums", "")
    answer: Any = await worker.pipeline.infer(call, lambda _: json.decode_request(body))
    assert answer.outputs["y"].data == [3.0]
    assert call.priority == stated
