"""Connections are spread evenly over the workers."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from eventlog.settings import Home
from service.connection_loads import ConnectionLoads
from service.shared_listener import SharedListener


class Echo(asyncio.Protocol):
    """Answer every message with the worker's number."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._worker.open.add(self)

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"%d" % self._worker.number)

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.open.discard(self)


class Quiet(asyncio.Protocol):
    """Answer nothing; unlike its base, an instance has attributes."""


class Worker:
    """One of several workers in this process."""

    def __init__(self, home: Home, number: int, listener: socket.socket) -> None:
        self.number = number
        self.open: set[Echo] = set()
        shared = SharedListener.listen(
            "rest", home, number, listener.dup(), lambda: Echo(self), None
        )
        assert shared is not None
        self.listener = shared


class Service:
    """Workers that share one listening socket."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.workers: list[Worker] = []

    def start(self, number: int) -> Worker:
        worker = Worker(self.home, number, self.socket)
        self.workers.append(worker)
        return worker

    async def connect(self) -> tuple[int, asyncio.StreamWriter]:
        """Open a connection; returns the worker that answers."""
        reader, writer = await asyncio.open_connection(*self.socket.getsockname())
        writer.write(b"?")
        return int(await reader.read(10)), writer


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    home = Home(tmp_path)
    home.workers.mkdir()
    service = Service(home)
    yield service
    for worker in service.workers:
        worker.listener.close()
    service.socket.close()


@pytest.mark.parametrize("connections", [4, 100])
async def test_few_and_many_connections_are_spread_evenly(
    service: Service, connections: int
) -> None:
    workers = [service.start(number) for number in (0, 1)]
    held = [await service.connect() for _ in range(connections)]
    assert [len(worker.open) for worker in workers] == [connections // 2] * 2
    for _, writer in held:
        writer.close()


async def test_a_burst_is_spread_evenly(service: Service) -> None:
    workers = [service.start(number) for number in (0, 1, 2)]
    held = await asyncio.gather(*(service.connect() for _ in range(60)))
    assert [len(worker.open) for worker in workers] == [20] * 3
    for _, writer in held:
        writer.close()


async def test_new_connections_go_to_workers_whose_connections_ended(service: Service) -> None:
    workers = [service.start(number) for number in (0, 1)]
    held = [await service.connect() for _ in range(20)]
    left = [writer for worker, writer in held if worker == 0]
    for writer in left:
        writer.close()
        await writer.wait_closed()
    while workers[0].open:
        await asyncio.sleep(0)
    more = [await service.connect() for _ in range(10)]
    assert [worker for worker, _ in more] == [0] * 10
    for _, writer in held + more:
        writer.close()


async def test_a_stopped_worker_gets_no_connection(service: Service) -> None:
    service.start(0)
    service.start(1).listener.close()
    held = [await service.connect() for _ in range(10)]
    assert [worker for worker, _ in held] == [0] * 10
    for _, writer in held:
        writer.close()


async def test_a_worker_that_was_killed_gets_no_connection(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as process:
        process.setattr(os, "getpid", lambda: 2**22 + 1)  # a process id that no process has
        killed = ConnectionLoads(service.home.workers / "rest.connections", 5)
    worker = service.start(0)
    held = [await service.connect() for _ in range(10)]
    assert [worker for worker, _ in held] == [0] * 10
    assert killed.live() == {0: os.getpid()}
    assert killed.load(0) == len(worker.open) == 10
    for _, writer in held:
        writer.close()


async def test_a_replacement_worker_starts_with_zero_connections(
    tmp_path: Path,
) -> None:
    first = ConnectionLoads(tmp_path / "loads", 0)
    other = ConnectionLoads(tmp_path / "loads", 1)
    first.assign(0)
    other.assign(0)
    other.assign(1)
    assert (first.load(0), first.load(1)) == (2, 1)
    assert ConnectionLoads(tmp_path / "loads", 0).load(0) == 0


async def test_a_failed_handshake_does_not_count_as_load(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.workers.mkdir()
    bound = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shared = SharedListener.listen("grpc", home, 0, bound, Quiet, context)
    assert shared is not None
    reader, writer = await asyncio.open_connection(*bound.getsockname())
    writer.write(b"no handshake\n" * 10)
    await asyncio.wait_for(reader.read(), 60)
    writer.close()
    await shared.wait_closed()
    loads = ConnectionLoads(home.workers / "grpc.connections", 1)
    assert loads.load(0) == 0
    shared.close()
