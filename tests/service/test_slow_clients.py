"""Slow clients of the REST port."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from access.connection_table import SLOWEST, ConnectionLimits
from service.rest.connection import Connection
from tests.service.in_process import InProcessWorker
from tests.service.test_connection import BODY, GET, PATH, RawClient, listening, post

pytestmark = pytest.mark.untraced

LIVE = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = post(BODY)[: -len(BODY)]


class Port:
    """A listening worker, its table, and the connections that it accepted."""

    def __init__(
        self, connect: Callable[[], Any], bounded: type[Connection], accepted: list[Any]
    ) -> None:
        self.connect = connect
        self.table = bounded.table
        self.accepted = accepted

    async def pass_time(self, seconds: float) -> None:
        """Look at all connections as if so much time had passed, once their bytes are read."""
        for _ in range(20):
            await asyncio.sleep(0)
        self.table.sweep(asyncio.get_running_loop().time() + seconds)


@pytest.fixture
def worker() -> InProcessWorker:
    return InProcessWorker(max_body_bytes=1 << 20, max_buffered_bytes=100_000)


@pytest.fixture
async def port(worker: InProcessWorker) -> AsyncIterator[Port]:
    bounded = Connection.bounded(ConnectionLimits(4, 20.0), ["/livez"])
    accepted: list[Any] = []

    class Observed(bounded):  # type: ignore[valid-type, misc]
        def connection_made(self, transport: Any) -> None:
            accepted.append(self)
            super().connection_made(transport)

    async with listening(worker, bounded=Observed) as connect:
        yield Port(connect, bounded, accepted)


async def _arrives(port: Port, client: RawClient, data: bytes) -> None:
    """Send bytes; return when the server has read them."""
    await client.send(data)
    other = await port.connect()
    assert (await other.ask(GET))[0] == 200
    other.leave()


async def test_a_silent_connection_is_closed(port: Port) -> None:
    client = await port.connect()
    assert (await (await port.connect()).ask(GET))[0] == 200
    await port.pass_time(19)
    assert len(port.table) == 2
    await port.pass_time(21)
    assert await client.ended()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (HEAD[:-2], b"head took over 20 s"),
        (HEAD + BODY[:-5], b"body took over 20 s"),
        (GET[:-2], b"head took over 20 s"),
        (b"POST /elsewhere HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1", b"over 20 s"),
    ],
)
async def test_half_a_request_is_answered_408(port: Port, sent: bytes, reason: bytes) -> None:
    client = await port.connect()
    await _arrives(port, client, sent)
    await port.pass_time(19)
    await port.pass_time(21)
    status, head, body = await client.reply()
    assert (status, b"connection: close" in head) == (408, True)
    assert reason in body
    assert await client.ended()


async def test_a_large_body_has_more_time(port: Port, worker: InProcessWorker) -> None:
    client = await port.connect()
    head = HEAD.replace(b"content-length: %d" % len(BODY), b"content-length: 400000")
    await _arrives(port, client, head + b" " * 5 * SLOWEST)
    await port.pass_time(24)
    await client.send(b" " * SLOWEST)
    await port.pass_time(27)
    assert (await client.reply())[0] == 408
    assert [event.outcome for event in worker.appender.events] == ["cancelled"]
    assert worker.inference.buffered.size == 0


async def test_a_client_that_reads_nothing_is_dropped(port: Port) -> None:
    client = await port.connect()
    flood = asyncio.create_task(client.send(*[post() * 100] * 300))
    (served,) = port.accepted
    async with asyncio.timeout(60):
        while not served.flow.write_paused:
            await asyncio.sleep(0)
    await port.pass_time(0)
    await port.pass_time(19)
    assert len(port.table) == 1
    await port.pass_time(21)
    await port.pass_time(42)
    assert len(port.table) == 0
    flood.cancel()


async def test_an_unproven_connection_is_closed_for_a_new_client(port: Port) -> None:
    proven, *strangers = [await port.connect() for _ in range(4)]
    assert (await proven.ask(post()))[0] == 200
    await _arrives(port, strangers[1], GET[:-2])
    client = await port.connect()
    assert (await client.ask(post()))[0] == 200
    assert (await proven.ask(post()))[0] == 200
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await strangers[0].reply()


async def test_health_answers_while_every_connection_is_taken(port: Port) -> None:
    for _ in range(4):
        assert (await (await port.connect()).ask(post()))[0] == 200
    for _ in range(50):
        probe = await port.connect()
        status, head, _ = await probe.ask(LIVE)
        assert (status, b"connection: close" in head) == (200, True)
        assert await probe.ended()
    for other in (GET, post(), post()):
        status, head, _ = await (await port.connect()).ask(other)
        assert (status, b"retry-after: 1" in head) == (503, True)


async def test_incomplete_bodies_share_a_budget(port: Port, worker: InProcessWorker) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 80000\r\n\r\n".encode()
    first, second = await port.connect(), await port.connect()
    await _arrives(port, first, head + b" " * 60_000)
    status, headers, body = await second.ask(head + b" " * 60_000)
    assert (status, b"retry-after: 1" in headers) == (429, True)
    assert b"expected at most 100000" in body
    assert (await first.ask(b" " * 20_000))[0] == 400  # the empty body, complete
    assert worker.inference.buffered.size == 0


async def test_a_refusal_before_the_body_is_seen_by_a_client_that_sends_it_all(
    port: Port,
) -> None:
    client = await port.connect()
    length = 8 << 20
    await client.send(HEAD.replace(b"length: %d" % len(BODY), b"length: %d" % length))
    status, head, _ = await client.reply()
    assert (status, b"connection: close" in head) == (413, True)
    await client.send(bytes(length))  # is read and ignored
    assert await client.ended()


async def test_a_large_body_that_nothing_reads_closes_the_connection(port: Port) -> None:
    client = await port.connect()
    head = b"PUT /elsewhere HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n"
    assert (await client.ask(head))[0] == 200
    await client.send(bytes(70_000))
    assert await client.ended()


class Queue(deque[Any]):
    """A connection's queue that notes its largest size."""

    most = 0

    def appendleft(self, item: Any) -> None:
        super().appendleft(item)
        self.most = max(self.most, len(self))


async def test_few_pipelined_requests_are_parsed_ahead(port: Port) -> None:
    client = await port.connect()
    assert (await client.ask(GET))[0] == 200
    (served,) = port.accepted
    queue = served.pipeline = Queue()
    flood = asyncio.create_task(client.send(GET * 4_000))
    for _ in range(4_000):
        assert (await client.reply())[0] == 200
    await flood
    assert 0 < queue.most <= 16_384 // len(GET) + 1
