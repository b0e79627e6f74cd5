"""Whatever a request contains, the next request of its connection is parsed correctly."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.rest.admin_port import AdminPort
from service.settings import Settings
from tests.access import http1_table as http1
from tests.service.in_process import InProcessWorker
from tests.service.test_connection import PATH, listening

ELSEWHERE = "/v2/elsewhere"
NAMES = sorted(http1.table(PATH, b""))
CUTS = [1 << 20, 7]  # bytes of a piece that is sent at once


@pytest.fixture
def worker() -> InProcessWorker:
    return InProcessWorker(max_body_bytes=4_096)


async def _converse(address: Any, name: str, path: str, body: bytes, cut: int) -> bytes:
    sent = http1.table(path, body)[name] + http1.second(path)
    replies = await asyncio.to_thread(http1.converse, address, *http1.pieces_of(sent, cut))
    http1.check(name, sent, replies)
    return sent


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", NAMES)
async def test_an_inference_request(worker: InProcessWorker, name: str, cut: int) -> None:
    async with listening(worker) as connect:
        address = (await connect()).address
        for body in (http1.HONEST, http1.HONEST, http1.hidden(PATH)):
            await _converse(address, name, PATH, body, cut)
        ids = [event.request_id for event in worker.appender.events]
        assert set(ids) <= {"", "first", "second"}
        assert ids.count("first") <= 2
        assert ids.count("second") <= 3


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", NAMES)
async def test_another_request(worker: InProcessWorker, name: str, cut: int) -> None:
    echo = http1.Echo()
    async with listening(worker, app=echo) as connect:
        address = (await connect()).address
        for body in (http1.HONEST, http1.hidden(ELSEWHERE)):
            echo.bodies.clear()
            sent = await _converse(address, name, ELSEWHERE, body, cut)
            http1.check_bodies(sent, body, echo.bodies)


@asynccontextmanager
async def _admin_port(app: http1.Echo) -> AsyncIterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin, end = asyncio.Event(), asyncio.Event()

    async def public(_: Any, __: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        begin.set()
        await end.wait()

    async def send(_: Any) -> None:
        pass

    admin: Any = app
    ports = AdminPort(public, admin, Settings(admin_port=port))
    life = asyncio.create_task(ports({"type": "lifespan"}, send, send))  # type: ignore[arg-type]
    await begin.wait()
    yield "127.0.0.1", port
    end.set()
    await life


async def test_every_request_on_the_admin_port() -> None:
    echo = http1.Echo()
    async with _admin_port(echo) as address:
        for name in NAMES:
            for body in (http1.HONEST, http1.hidden(ELSEWHERE)):
                echo.bodies.clear()
                sent = await _converse(address, name, ELSEWHERE, body, CUTS[0])
                http1.check_bodies(sent, body, echo.bodies)


@pytest.mark.parametrize("path", [PATH, ELSEWHERE])
async def test_many_simultaneous_requests_with_an_upgrade_header(
    worker: InProcessWorker, path: str
) -> None:
    async with listening(worker, app=http1.Echo()) as connect:
        offer = http1.table(path, http1.HONEST)["h2c"]
        address = (await connect()).address
        sent = offer * 500 + http1.second(path)
        replies = await asyncio.to_thread(http1.converse, address, sent)
    assert [reply.status for reply in replies] == [200] * 501


@pytest.mark.parametrize("path", [PATH, ELSEWHERE])
@pytest.mark.parametrize(
    "broken",
    [
        b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhellohello\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 9_000,
    ],
)
async def test_a_refusal_is_sent_after_the_earlier_replies(
    worker: InProcessWorker, path: str, broken: bytes
) -> None:
    async with listening(worker, app=http1.Echo()) as connect:
        address = (await connect()).address
        asked = http1.table(path, http1.HONEST)["keep-alive"] * 3
        if b"%b" in broken:
            broken %= path.encode()
        sent = asked + broken + http1.second(path)
        replies = await asyncio.to_thread(http1.converse, address, sent)
    assert [reply.status for reply in replies[:3]] == [200] * 3
    (refusal,) = replies[3:]
    assert refusal.status in {400, 405, 431}
    assert refusal.body.startswith(b'{"error":')


@pytest.mark.parametrize("path", [PATH, ELSEWHERE])
@pytest.mark.parametrize("endless", [b"0\r\n" + b"x: y\r\n" * 200_000, b"5;" + b"x" * 1_200_000])
async def test_endless_trailers_and_chunk_extensions_are_refused(
    worker: InProcessWorker, path: str, endless: bytes
) -> None:
    async with listening(worker, app=http1.Echo()) as connect:
        address = (await connect()).address
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n"
        (reply,) = await asyncio.to_thread(http1.converse, address, head.encode(), endless)
    assert reply.status == 431


async def test_trailers_do_not_become_headers(worker: InProcessWorker) -> None:
    seen: list[Any] = []
    echo = http1.Echo()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        seen.extend(name for name, _ in scope["headers"])

    async with listening(worker, app=app) as connect:
        address = (await connect()).address
        await _converse(address, "a trailer with a key", ELSEWHERE, b"{}", CUTS[0])
    assert b"host" in seen
    assert b"authorization" not in seen
