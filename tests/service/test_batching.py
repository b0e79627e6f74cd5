"""When a batch starts, which requests it contains, and that each caller gets its own rows."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from itertools import count
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.admission import Admission
from service.batching.batcher import Batcher
from service.batching.job import Job, RunResult
from service.batching.merge import Arrays, merge, offsets, split
from service.batching.policy import BatchPolicy, Take, WaitUntil, decide
from service.errors import Expired, Overloaded, RunFailed

sizes = st.lists(st.integers(1, 20), min_size=1, max_size=30)


@given(sizes, st.integers(1, 40))
def test_a_free_runner_takes_the_oldest_fitting_requests_at_once(
    waiting: list[int], most: int
) -> None:
    requests = [(rows, 0) for rows in waiting]
    decision = decide(requests, oldest=5.0, now=5.0, limits=BatchPolicy(most))
    assert isinstance(decision, Take)
    taken = waiting[: decision.count]
    assert decision.count >= 1
    assert sum(taken) <= most or decision.count == 1
    rest = waiting[decision.count :]
    assert not rest or sum(taken) + rest[0] > most


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 100)), min_size=1, max_size=30),
    st.integers(1, 20),
    st.integers(1, 200),
)
def test_a_batch_exceeds_its_bytes_only_by_a_single_request(
    waiting: list[tuple[int, int]], most_rows: int, most_bytes: int
) -> None:
    limits = BatchPolicy(most_rows, max_bytes=most_bytes)
    taken = 0
    while taken < len(waiting):
        decision = decide(waiting[taken:], oldest=5.0, now=5.0, limits=limits)
        assert isinstance(decision, Take)
        batch = waiting[taken : taken + decision.count]
        size = sum(request[1] for request in batch)
        assert len(batch) == 1 or size <= most_bytes
        taken += decision.count
        rows = sum(request[0] for request in batch)
        if taken < len(waiting):  # as many as fit
            assert rows + waiting[taken][0] > most_rows or size + waiting[taken][1] > most_bytes


@given(sizes, st.floats(0.001, 1), st.floats(0, 2))
def test_a_batch_waits_at_most_its_delay(waiting: list[int], delay: float, passed: float) -> None:
    limits = BatchPolicy(max_rows=100, max_delay=delay)
    requests = [(rows, 0) for rows in waiting]
    decision = decide(requests, oldest=10.0, now=10.0 + passed, limits=limits)
    if sum(waiting) >= 100 or 10.0 + passed >= 10.0 + delay:
        assert isinstance(decision, Take)
    else:
        assert decision == WaitUntil(10.0 + delay)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(1, 4))
def test_splitting_a_merged_batch_returns_each_callers_rows(rows: list[int], width: int) -> None:
    starts = offsets(rows)
    requests = [
        {"x": np.arange(start * width, (start + size) * width).reshape(size, width)}
        for start, size in zip(starts, rows, strict=True)
    ]
    parts = split(merge(requests), rows)
    for request, part in zip(requests, parts, strict=True):
        assert np.array_equal(request["x"], part["x"])


def test_an_output_without_a_row_for_each_input_is_a_failed_run() -> None:
    with pytest.raises(RunFailed, match=r"'y' has shape \[1\] for 3 rows"):
        split({"y": np.zeros(1)}, [1, 2])


class FakeRunner:
    """Doubles x; fails on 13; notes the rows of each run."""

    def __init__(self, *, quick: bool) -> None:
        self.runs: list[int] = []
        self._quick = quick

    def is_quick(self, rows: int, _size: int) -> bool:
        return self._quick

    def run(self, inputs: Arrays) -> dict[str, Any]:
        self.runs.append(len(inputs["x"]))
        if 13 in inputs["x"]:
            raise RuntimeError("13")
        return {"y": inputs["x"] * 2}


class HeldExecutor(Executor):
    """Runs what it was given on command, so that a test decides how long the runner is busy."""

    def __init__(self) -> None:
        self.given: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.given.append((future, fn, args))
        return future

    def release(self) -> None:
        future, fn, args = self.given.pop(0)
        future.set_result(fn(*args))


def finish(answer: "asyncio.Future[Any]", outcome: Any) -> None:
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def admission(most: int = 100, max_wait: float = inf) -> Admission:
    return Admission("tiny", most, 10_000, max_wait=max_wait)


class BatchBench:
    """A batcher on a clock that stands still until it is moved."""

    def __init__(
        self,
        *,
        quick: bool = False,
        limits: BatchPolicy | None = None,
        admissions: Sequence[Admission] = (),
    ) -> None:
        limits = limits or BatchPolicy(8)
        self.now = 0.0
        self.finished = lambda: None
        self.runner = FakeRunner(quick=quick)
        self.executor = HeldExecutor()
        self.admissions = admissions or [admission() for _ in range(limits.levels)]
        numbers = count()
        self.batcher: Batcher[str, Any] = Batcher(
            runner=self.runner,
            finish=self._finish,
            limits=limits,
            admissions=self.admissions,
            executor=self.executor,
            batch_ids=lambda: f"b{next(numbers)}",
            clock=lambda: self.now,
        )

    def _finish(self, batch: Sequence[tuple[str, RunResult]]) -> list[Any]:
        self.finished()
        return [(ticket, run.outputs["y"].tolist(), run.batch_rows) for ticket, run in batch]

    def ask(
        self, *values: int, deadline: float = 100.0, priority: int = 0
    ) -> "asyncio.Future[Any]":
        array = np.array(values)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job: Job[str, Any] = Job(
            str(values[0]),
            {"x": array},
            rows=len(values),
            size=array.nbytes,
            deadline=deadline,
            reply=lambda outcome: finish(answer, outcome),
            priority=priority,
        )
        self.batcher.submit(job)
        answer.add_done_callback(lambda done: done.cancelled() and self.batcher.cancel(job))
        return answer


async def test_requests_of_one_loop_iteration_share_a_run_and_later_ones_queue() -> None:
    bench = BatchBench()
    first = [bench.ask(1), bench.ask(2, 3)]
    await asyncio.sleep(0)
    later = [bench.ask(n) for n in range(4, 14)]
    await asyncio.sleep(0)
    assert bench.runner.runs == []
    bench.executor.release()
    assert await asyncio.gather(*first) == [("1", [2], 3), ("2", [4, 6], 3)]
    bench.executor.release()
    assert (await later[0])[2] == 8
    await asyncio.sleep(0)
    bench.executor.release()
    await asyncio.gather(*later, return_exceptions=True)
    assert bench.runner.runs[:2] == [3, 8]


async def test_the_next_batch_starts_before_the_previous_callers_are_woken() -> None:
    bench = BatchBench()
    given_at_reply: list[int] = []
    bench.finished = lambda: given_at_reply.append(len(bench.executor.given))
    first = bench.ask(1)
    await asyncio.sleep(0)
    second = bench.ask(2)
    for answer in (first, second):
        bench.executor.release()
        await answer
    assert given_at_reply == [1, 0]
    assert bench.runner.runs == [1, 1]


@given(sizes, st.floats(0.001, 1), st.floats(0, 2))
def test_no_batch_waits_past_a_deadline(waiting: list[int], delay: float, left: float) -> None:
    limits = BatchPolicy(max_rows=1_000, max_delay=delay)
    requests = [(rows, 0) for rows in waiting]
    decision = decide(requests, oldest=10.0, now=10.0, limits=limits, deadline=10.0 + left)
    if 10.0 + left <= 10.0 + delay:
        assert decision == Take(len(waiting))
    else:
        assert decision == WaitUntil(10.0 + delay)


async def test_a_request_near_its_deadline_starts_the_batch() -> None:
    bench = BatchBench(quick=True, limits=BatchPolicy(8, max_delay=3_600.0))
    patient = bench.ask(1, deadline=1e9)
    await asyncio.sleep(0)
    assert not patient.done()
    answers = await asyncio.wait_for(asyncio.gather(patient, bench.ask(2, deadline=5.0)), 60)
    assert [rows for _, _, rows in answers] == [2, 2]


async def test_a_full_batch_starts_at_once() -> None:
    bench = BatchBench(quick=True, limits=BatchPolicy(3, max_delay=3_600.0))
    first = [bench.ask(n, deadline=1e9) for n in (1, 2)]
    await asyncio.sleep(0)
    assert not first[0].done()
    more = [bench.ask(3, deadline=1e9), bench.ask(4, 5, 6, deadline=1e9)]
    answers = await asyncio.wait_for(asyncio.gather(*first, *more), 60)
    assert [rows for _, _, rows in answers] == [3, 3, 3, 3]


async def test_a_batch_at_its_byte_limit_starts_at_once() -> None:
    bench = BatchBench(quick=True, limits=BatchPolicy(8, max_bytes=24, max_delay=3_600.0))
    first = [bench.ask(n, deadline=1e9) for n in (1, 2)]  # 8 bytes each
    await asyncio.sleep(0)
    assert not first[0].done()
    answers = await asyncio.wait_for(asyncio.gather(*first, bench.ask(3, deadline=1e9)), 60)
    assert [rows for _, _, rows in answers] == [3, 3, 3]


async def test_a_quick_run_stays_in_the_event_loop() -> None:
    bench = BatchBench(quick=True)
    assert await bench.ask(21) == ("21", [42], 1)


async def test_a_failing_request_does_not_affect_others_of_its_batch() -> None:
    bench = BatchBench(quick=True)
    good, bad, also_good = bench.ask(1), bench.ask(13), bench.ask(2)
    assert (await good)[:2] == ("1", [2])
    assert (await also_good)[:2] == ("2", [4])
    with pytest.raises(RunFailed):
        await bad


async def test_cancelled_and_expired_requests_never_reach_the_runner() -> None:
    bench = BatchBench()
    running = bench.ask(1)
    await asyncio.sleep(0)
    left, expired, patient = bench.ask(2), bench.ask(3, deadline=1.0), bench.ask(4)
    left.cancel()
    bench.now = 2.0
    bench.executor.release()
    await running
    with pytest.raises(Expired):
        await expired
    bench.executor.release()
    assert (await patient)[:2] == ("4", [8])
    assert bench.runner.runs == [1, 1]
    assert bench.batcher.waiting == 0


async def test_a_full_queue_refuses_at_once_and_accepts_again_after_a_run() -> None:
    bench = BatchBench(admissions=[admission(2)])
    accepted = [bench.ask(1), bench.ask(2)]
    with pytest.raises(Overloaded, match="the queue of tiny is full: 2 requests"):
        bench.ask(3)
    await asyncio.sleep(0)
    accepted.append(bench.ask(4))
    bench.executor.release()
    await asyncio.gather(*accepted[:2])
    bench.executor.release()
    await accepted[2]


async def test_a_request_that_would_wait_too_long_is_refused_with_retry_after() -> None:
    slow = admission(max_wait=2.5)
    bench = BatchBench(admissions=[slow])
    first = bench.ask(1)
    await asyncio.sleep(0)
    bench.now = 5.0  # a row took five seconds: one is thought to take one from now on
    bench.executor.release()
    await first
    waiting = [bench.ask(2)]
    await asyncio.sleep(0)
    waiting += [bench.ask(n) for n in (3, 4, 5)]
    with pytest.raises(Overloaded, match=r"would wait about 3.00 s \(at most 2.5 s\)") as refused:
        bench.ask(6)
    assert refused.value.retry_after == 3
    bench.executor.release()
    await waiting[0]
    await asyncio.sleep(0)
    bench.executor.release()
    await asyncio.gather(*waiting)
    assert (slow.rows, slow.requests, slow.size) == (0, 0, 0)
