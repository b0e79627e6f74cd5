"""Incomplete TLS handshakes count as connections of their port and are closed first."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest
import uvloop

from access.connection_table import ConnectionLimits, ConnectionTable
from access.handshakes import count_handshakes
from tests.access.certificates import Certificates

HALF_HELLO = bytes.fromhex("16030100c8010000c40303")  # the begin of a TLS record
_LIMIT = 4
Case = Callable[["Port"], Coroutine[Any, Any, None]]


class Echo(asyncio.Protocol):
    """Answer with what is received."""

    table: ClassVar[ConnectionTable]
    proven = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        assert self.table.enter(self)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.table.leave(self)

    def waits_since(self) -> float:
        return 0.0

    def check_deadline(self, now: float) -> None:
        pass

    def drop(self) -> None:
        self._transport.abort()


class Port:
    """A TLS server of this loop, and clients that finish their handshake or do not."""

    def __init__(self, files: Certificates, listener: socket.socket) -> None:
        self.address = listener.getsockname()
        self.trusting = files.context(shown=False)

    async def half(self) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(HALF_HELLO)
        self._writers = [*getattr(self, "_writers", []), writer]
        return reader

    async def echo(self) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.trusting)
        writer.write(b"hello")
        answer = await reader.readexactly(5)
        writer.close()
        return answer


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def _run(case: Case, files: Certificates, loop: Any, seconds: float = 60.0) -> None:
    async def serve() -> None:
        count_handshakes(asyncio.get_running_loop(), seconds)
        Echo.table = ConnectionTable(ConnectionLimits(connections=_LIMIT))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files.server)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = await asyncio.get_running_loop().create_server(
                Echo, sock=listener, ssl=context
            )
            await case(Port(files, listener))
            server.close()

    loop(serve())


LOOPS = pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])


@LOOPS
def test_incomplete_handshakes_are_closed_oldest_first(files: Certificates, loop: Any) -> None:
    async def case(port: Port) -> None:
        halves = [await port.half() for _ in range(_LIMIT)]
        while len(Echo.table) < _LIMIT:
            await asyncio.sleep(0)
        assert await port.echo() == b"hello"
        assert await halves[0].read() == b""
        assert len(Echo.table) <= _LIMIT

    _run(case, files, loop)


@LOOPS
def test_a_handshake_that_takes_too_long_is_closed(files: Certificates, loop: Any) -> None:
    async def case(port: Port) -> None:
        half = await port.half()
        while not len(Echo.table):
            await asyncio.sleep(0)
        assert await half.read() == b""
        while len(Echo.table):
            await asyncio.sleep(0)

    _run(case, files, loop, seconds=0.05)


@LOOPS
def test_a_finished_handshake_is_one_connection(files: Certificates, loop: Any) -> None:
    async def case(port: Port) -> None:
        reader, writer = await asyncio.open_connection(*port.address, ssl=port.trusting)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        assert len(Echo.table) == 1
        writer.close()
        while len(Echo.table):
            await asyncio.sleep(0)

    _run(case, files, loop)
