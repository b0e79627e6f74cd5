"""HTTP/1.1 of all kinds of clients, over real sockets to an in-process worker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.rest.body_middleware import BodyMiddleware
from service.rest.connection import Connection
from service.rest.head import Head
from service.settings import connection_limits
from tests.service.in_process import Gate, InProcessWorker

BODY = (
    b'{"id": "mine", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]},'
    b'{"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'
)
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PATH = "/v2/models/sums/infer"


def post(body: bytes = BODY, *headers: str, path: str = PATH, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


GET = b"GET /elsewhere HTTP/1.1\r\nhost: x\r\n\r\n"


class RawClient:
    """A client that writes bytes and reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @property
    def address(self) -> tuple[str, int]:
        """The server's."""
        host, port = self._writer.get_extra_info("peername")
        return host, port

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def reply(self) -> tuple[int, bytes, bytes]:
        """Status, head and body of the next reply."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), head, await self.reader.readexactly(size)

    async def ask(self, *pieces: bytes) -> tuple[int, bytes, bytes]:
        await self.send(*pieces)
        return await self.reply()

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        return await self.reader.read()

    async def ended(self) -> bool:
        """Whether the server closes the connection without another word."""
        return await self.reader.read() == b""

    def leave(self) -> None:
        self._writer.close()


async def _elsewhere(_: Any, __: Any, send: Any) -> None:
    headers = [(b"content-length", b"9")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"elsewhere"})


@asynccontextmanager
async def listening(
    worker: InProcessWorker,
    *,
    app: Any = _elsewhere,
    bounded: type[Connection] | None = None,
) -> AsyncIterator[Callable[[], Any]]:
    """Gives a function that connects; `app` answers what is not inference."""
    base = bounded or Connection.bounded(connection_limits(worker.settings))

    class Here(base):  # type: ignore[misc, valid-type]
        _cached_heads: ClassVar[dict[bytes, Head]] = {}

        def dependencies(self) -> Any:
            return worker.inference

    await worker.models.refresh()
    budget = worker.inference.buffered
    front = BodyMiddleware(app, worker.settings.max_body_bytes, lambda: budget)
    config = Config(front, lifespan="off")
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Here(config, state, {}), "127.0.0.1", 0)
    clients: list[RawClient] = []

    async def connect() -> RawClient:
        clients.append(
            RawClient(*await asyncio.open_connection(*server.sockets[0].getsockname()[:2]))
        )
        return clients[-1]

    yield connect
    for client in clients:
        client.leave()
    server.close()


@pytest.fixture
async def client(worker: InProcessWorker) -> AsyncIterator[RawClient]:
    async with listening(worker) as connect:
        yield await connect()


@pytest.fixture
def worker() -> InProcessWorker:
    return InProcessWorker(max_body_bytes=4_096)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(180):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_reply_carries_the_trace_of_its_request(
    client: RawClient, worker: InProcessWorker
) -> None:
    status, head, body = await client.ask(post(BODY, f"traceparent: {TRACE.decode()}"))
    assert status == 200
    assert b"content-type: application/json" in head
    assert b'"id":"mine"' in body
    assert worker.appender.events[0].traceparent == TRACE.decode()


async def test_a_large_body_is_parsed_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrived: list[int] = []
    parsed: list[int] = []
    receive, parse = Connection.data_received, Connection.pass_body

    def received(self: Connection, data: bytes) -> None:
        arrived.append(len(data))
        receive(self, data)

    def passed(self: Connection, body: bytes) -> None:
        parsed.append(len(body))
        parse(self, body)

    monkeypatch.setattr(Connection, "data_received", received)
    monkeypatch.setattr(Connection, "pass_body", passed)
    worker = InProcessWorker(max_body_bytes=4 << 20)
    async with listening(worker) as connect:
        client = await connect()
        large = BODY + b" " * (1 << 20)
        status, _, _ = await client.ask(post(large) + post())
        assert status == 200
        assert (await client.reply())[0] == 200
    assert sum(parsed) == len(large) + len(BODY)
    # Nor is the rest copied for each: the time would grow with the square of what arrives at once.
    assert len(parsed) <= 2 * len(arrived) + 2


async def test_a_repeated_head_gets_the_same_reply_however_it_is_split(
    client: RawClient, worker: InProcessWorker
) -> None:
    whole = post()
    first = await client.ask(whole)
    again = await client.ask(whole)
    in_pieces = await client.ask(*(whole[n : n + 7] for n in range(0, len(whole), 7)))
    other_values = await client.ask(post(BODY.replace(b"[1, 2]}", b"[3, 4]}")))
    assert [reply[0] for reply in (first, again, in_pieces, other_values)] == [200] * 4
    assert [event.outputs["y"].data for event in worker.appender.events] == [[3.0]] * 3 + [[7.0]]


async def test_pipelined_requests_are_answered_in_order(client: RawClient) -> None:
    named = [post(BODY.replace(b"mine", b"m%03d" % n)) for n in range(40)]
    named[7:7] = [GET]
    named[20:20] = [post(b"{", path="/v2/models/nobody/infer")]
    await client.send(b"".join(named))
    replies = [await client.reply() for _ in named]
    assert replies[7][2] == b"elsewhere"
    assert replies[20][0] == 404
    others = replies[:7] + replies[8:20] + replies[21:]
    assert [b'"id":"m%03d"' % n in body for n, (_, _, body) in enumerate(others)] == [True] * 40


async def test_many_pipelined_invalid_requests_are_each_answered(client: RawClient) -> None:
    await client.send(post(b"{") * 1500)
    assert {(await client.reply())[0] for _ in range(1500)} == {400}


async def test_chunked_bodies_and_expect_continue_are_supported(client: RawClient) -> None:
    chunked = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    chunks = [b"1\r\n%b\r\n" % bytes([byte]) for byte in BODY]
    assert (await client.ask(chunked, *chunks, b"0\r\n\r\n"))[0] == 200
    asking, body = post(BODY, "expect: 100-continue").split(BODY)[0], BODY
    await client.send(asking)
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.ask(body))[0] == 200


@pytest.mark.parametrize("stated", [True, False])
async def test_a_body_over_the_limit_is_refused_and_the_connection_closed(
    client: RawClient, worker: InProcessWorker, stated: bool
) -> None:
    if stated:
        sent = post(b" " * 5_000)[:200]
    else:
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        sent = head.encode() + b"1388\r\n" + b" " * 5_000
    status, head_sent, body = await client.ask(sent)
    assert (status, b"connection: close" in head_sent) == (413, True)
    assert b"at most 4096" in body
    assert await client.ended()
    assert [event.outcome for event in worker.appender.events] == ["invalid"]


@pytest.mark.parametrize("ended", [True, False])
async def test_a_head_over_16_kib_is_refused(client: RawClient, ended: bool) -> None:
    long = post(b"", *(f"x-{n}: {'v' * 1000}" for n in range(20)))
    sent = [long] if ended else [long[n : n + 3000] for n in range(0, 20_000, 3000)]
    status, _, body = await client.ask(*sent)
    assert status == 431
    assert b"at most 16384 bytes" in body
    assert await client.ended()


async def test_bytes_that_are_not_http_get_400(client: RawClient) -> None:
    assert (await client.ask(b"\x16\x03\x01 tls? here?\r\n\r\n"))[0] == 400
    assert await client.ended()


@pytest.mark.parametrize("how", [{"version": "1.0"}, {}])
async def test_a_connection_with_connection_close_is_closed(client: RawClient, how: Any) -> None:
    status, head, _ = await client.ask(post(BODY, "connection: close", **how))
    assert (status, b"connection: close" in head) == (200, True)
    assert await client.ended()


@pytest.mark.parametrize("setting", [{}, {"keep_alive_s": 6}])
async def test_a_proxy_uses_an_idle_connection_until_the_keep_alive_timeout(
    setting: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = setting.get("keep_alive_s", 75)
    loop, idle = asyncio.get_running_loop(), 0.0
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + idle)
    async with listening(InProcessWorker(**setting)) as connect:
        client = await connect()
        for asked in (GET, post(), post(), GET):
            assert (await client.ask(asked))[0] == 200
            idle += seconds - 5
        idle += 10
        assert await client.ended()


async def test_a_wrong_method_is_refused_with_the_expected_method(client: RawClient) -> None:
    status, head, _ = await client.ask(post(b"{}").replace(b"POST", b"PUT"))
    assert (status, b"allow: POST" in head) == (405, True)


@pytest.mark.parametrize(
    ("asked", "status", "error"),
    [
        ("GET /elsewhere/unknown HTTP/1.1", 404, b"no route /elsewhere/unknown"),
        ("HEAD /unknown HTTP/1.1", 404, None),
        ("DELETE /known HTTP/1.1", 405, b"got DELETE; expected GET, HEAD"),
    ],
)
async def test_unknown_paths_and_methods_are_refused_as_json(
    worker: InProcessWorker, asked: str, status: int, error: bytes | None
) -> None:
    app = Starlette(routes=[Route("/known", lambda _: Response(b"known"))])
    async with listening(worker, app=app) as connect:
        client = await connect()
        await client.send(f"{asked}\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"content-type: application/json" in head
    assert (b"\r\nallow: GET, HEAD" in head) == (status == 405)
    assert body == (b"" if error is None else b'{"error":"%b"}' % error)


async def test_the_reply_is_503_while_the_log_accepts_no_events(
    client: RawClient, worker: InProcessWorker
) -> None:
    worker.appender.broken = True
    status, head, _ = await client.ask(post())
    assert (status, b"retry-after: 1\r\n" in head) == (503, True)


async def test_each_disconnected_client_is_one_cancelled_event() -> None:
    gate = Gate()
    worker = InProcessWorker(gate=gate)
    async with listening(worker) as connect:
        running, waiting, writing = await connect(), await connect(), await connect()
        await running.send(post())
        await _until(lambda: gate.runs == 1)
        await writing.send(post()[:-5])
        await waiting.send(post())
        await _until(lambda: worker.batchers[0].waiting == 1)
        for client in (running, waiting, writing):
            client.leave()
        await _until(lambda: worker.appender.next_sequence == 3)
        gate.open()
    assert {event.outcome for event in worker.appender.events} == {"cancelled"}
    assert worker.batchers[0].waiting == 0


async def test_a_full_queue_replies_429_with_retry_after() -> None:
    gate = Gate()
    worker = InProcessWorker(gate=gate)
    async with listening(worker) as connect:
        clients = [await connect() for _ in range(12)]
        asking = [asyncio.create_task(client.ask(post())) for client in clients]
        done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        status, head, _ = done.pop().result()
        assert (status, b"retry-after: 1\r\n" in head) == (429, True)
        gate.open()
        statuses = [(await one)[0] for one in asking]
    outcomes = [event.outcome for event in worker.appender.events]
    assert outcomes.count("refused") == statuses.count(429) > 0
    assert outcomes.count("ok") == statuses.count(200) > 0


@pytest.mark.untraced
async def test_a_client_that_does_not_read_stops_its_own_requests(worker: InProcessWorker) -> None:
    async with listening(worker) as connect:
        client = await connect()
        flood = asyncio.create_task(client.send(*[post() * 100] * 300))
        other, before = await connect(), -1
        while worker.appender.next_sequence != before + 20:  # until it answers only the other one
            before = worker.appender.next_sequence
            for _ in range(20):
                assert (await other.ask(post()))[0] == 200
        assert before < 30_000
        for _ in range(30_000):
            assert (await client.reply())[0] == 200
        await flood
