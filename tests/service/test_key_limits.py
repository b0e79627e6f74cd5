"""Rate limits of a key: the token buckets, and the replies over a socket."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.errors import AccessError
from eventlog.errors import DriftlineError
from service.auth.key_limits import BURST_S, LABELS_BURST_S, KeyLimits, Rates
from service.errors import KeyLimitReached
from tests.service.in_process import Gate, InProcessWorker
from tests.service.test_connection import BODY, listening, post

Refusals = list[DriftlineError | AccessError]
_sizes = st.integers(0, 5_000)
_pauses = st.floats(0, 30, allow_nan=False)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(_pauses, _sizes), min_size=1, max_size=60), st.integers(1, 500))
def test_no_time_span_exceeds_rate_plus_one_burst(
    asked: list[tuple[float, int]], rate: int
) -> None:
    clock = Clock()
    limits = KeyLimits(Rates(bytes=rate), clock)
    taken: list[tuple[float, int]] = []
    for pause, size in asked:
        clock.now += pause
        try:
            limits.admit("key:shop", size).end()
        except KeyLimitReached as refused:
            clock.now += refused.retry_after  # what was refused passes then
            limits.admit("key:shop", size).end()
        taken.append((clock.now, size))
    largest = max(size for _, size in taken)
    for first, (begin, _) in enumerate(taken):
        for end, _ in taken[first:]:
            inside = sum(size for at, size in taken if begin <= at <= end)
            most = rate * (end - begin + BURST_S) + largest
            assert inside <= most * (1 + 1e-9)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60), st.integers(1, 4))
def test_each_key_has_its_own_limit_of_concurrent_requests(
    steps: list[tuple[str, bool]], most: int
) -> None:
    refused: Refusals = []
    limits = KeyLimits(Rates(running=most), Clock(), refused.append)
    running: dict[str, list[Any]] = {"a": [], "b": []}
    for key, begins in steps:
        before = len(refused)
        if begins and len(running[key]) < most:
            running[key].append(limits.admit(key, 0))
        elif begins:
            with pytest.raises(KeyLimitReached, match=f"at most {most} at once"):
                limits.admit(key, 0)
            assert len(refused) == before + 1
        elif running[key]:
            running[key].pop().end()


def test_the_rows_of_a_request_count_against_later_requests() -> None:
    clock = Clock()
    limits = KeyLimits(Rates(rows=100), clock)
    account = limits.admit("key:shop", 10)
    account.add_rows(3_000)
    account.end()
    with pytest.raises(KeyLimitReached, match="too many rows") as refused:
        limits.admit("key:shop", 10)
    assert refused.value.retry_after == math.ceil((3_000 - 100 * BURST_S) / 100)
    limits.admit("key:other", 10)
    clock.now += refused.value.retry_after
    limits.admit("key:shop", 10)


def test_a_key_writes_labels_at_its_rate() -> None:
    clock = Clock()
    limits = KeyLimits(Rates(labels=100), clock)
    limits.admit_labels("key:shop", 9_000)  # more than a burst passes when nothing is spent
    with pytest.raises(KeyLimitReached, match="100 per second") as refused:
        limits.admit_labels("key:shop", 500)
    assert refused.value.retry_after == (9_500 - 100 * LABELS_BURST_S) / 100
    limits.admit_labels("key:other", 500)
    clock.now += 35
    limits.admit_labels("key:shop", 500)
    with pytest.raises(KeyLimitReached):
        limits.admit_labels("key:shop", 500)
    KeyLimits().admit_labels("key:shop", 1 << 40)


def test_eviction_keeps_keys_with_running_requests() -> None:
    limits = KeyLimits(Rates(running=1), Clock())
    limits.admit("key:held", 0)
    for number in range(3_000):
        limits.admit(f"oidc:{number}", 0).end()
    with pytest.raises(KeyLimitReached):
        limits.admit("key:held", 0)


async def test_a_request_over_the_rate_is_refused_and_writes_no_event() -> None:
    worker = InProcessWorker(rates=Rates(requests=1))
    async with listening(worker) as connect:
        client = await connect()
        for _ in range(BURST_S):
            status, *_ = await client.ask(post())
            assert status == 200
        status, head, body = await client.ask(post())
        assert (status, b"retry-after: 1\r\n" in head) == (429, True)
        assert b"at most 1 per second, averaged over 10 s" in body
        status, *_ = await client.ask(post(b"{}"))  # the connection stays
        assert status == 429
    assert len(worker.appender.events) == BURST_S


async def test_a_queued_request_counts_until_it_is_answered_or_cancelled() -> None:
    gate = Gate()
    worker = InProcessWorker(gate, rates=Rates(running=1))
    async with listening(worker) as connect:
        one, two = await connect(), await connect()
        await one.send(post())
        while not gate.runs:
            await asyncio.sleep(0)
        status, _, body = await two.ask(post())
        assert (status, b"at most 1 at once" in body) == (429, True)
        gate.open()
        status, *_ = await one.reply()
        assert status == 200
        assert (await two.ask(post()))[0] == 200
        assert (await two.ask(post(b"no json")))[0] == 400  # a failure counts no longer either
        assert (await two.ask(post(BODY)))[0] == 200
