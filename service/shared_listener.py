"""Distribute connections evenly among the workers of a service.

The kernel assigns a new connection to the first worker that accepts it, or by a hash of its
address. With only a few long connections, one worker may get nearly all of them. So the worker that
accepts a connection passes it to the worker with the fewest connections, by a Unix datagram socket.
"""

import asyncio
import hashlib
import logging
import os
import socket
import ssl
import sys
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from access.listener import Factory, Listener
from eventlog.settings import Home
from service.connection_loads import MOST_WORKERS, ConnectionLoads

Kind = Literal["rest", "grpc"]

_CLOSE_ON_EXEC = 0x40000000  # Linux's MSG_CMSG_CLOEXEC

_logger = logging.getLogger(__name__)


class SharedListener(Listener):
    """The listening socket of a worker."""

    def __init__(
        self,
        listener: socket.socket,
        factory: Factory,
        tls: ssl.SSLContext | None,
        loads: ConnectionLoads,
        addresses: "_WorkerAddresses",
    ) -> None:
        """Use `listen` to create one."""
        self._loads = loads
        self._addresses = addresses
        self._datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._datagrams.setblocking(False)  # noqa: FBT003  # the standard library's signature
        self._datagrams.bind(addresses.address(addresses.worker, os.getpid()))
        super().__init__(listener, factory, tls)
        self._loop.add_reader(self._datagrams.fileno(), self._receive)

    @classmethod
    def listen(  # noqa: PLR0913, PLR0917  # the parts of a listener
        cls,
        kind: Kind,
        home: Home,
        worker: int,
        listener: socket.socket,
        factory: Factory,
        tls: ssl.SSLContext | None,
        backlog: int = 1024,
    ) -> Self | None:
        """Listen on a bound socket and share its connections; return None if not possible."""
        if sys.platform != "linux" or worker >= MOST_WORKERS:
            return None
        try:
            loads = ConnectionLoads(home.workers / f"{kind}.connections", worker)
            listener.listen(backlog)
            listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
            return cls(listener, factory, tls, loads, _WorkerAddresses(home.root, kind, worker))
        except OSError as error:
            _logger.warning("connections are not distributed among the workers: %s", error)
            return None

    def close(self) -> None:
        """Accept no more connections, also from other workers; open connections continue."""
        if self._datagrams.fileno() < 0:
            return
        self._loads.retire(self._addresses.worker, os.getpid())
        super().close()
        self._receive()  # connections that other workers have already passed
        self._loop.remove_reader(self._datagrams.fileno())
        self._datagrams.close()

    def take(self, connection: socket.socket) -> None:
        """Pass a connection to the worker with the fewest connections, or serve it here."""
        for worker, pid in self._candidates():
            if worker == self._addresses.worker:
                break
            self._loads.assign(worker)
            if self._pass(connection, worker, pid):
                connection.close()
                return
            self._loads.assign(worker, -1)
        self._loads.assign(self._addresses.worker)
        self.adopt(connection)

    def _candidates(self) -> list[tuple[int, int]]:
        """Return (worker, process id) of all workers, ordered by their connections."""
        own = self._addresses.worker
        live = self._loads.live()
        return sorted(live.items(), key=lambda entry: (self._loads.load(entry[0]), entry[0] != own))

    def _pass(self, connection: socket.socket, worker: int, pid: int) -> bool:
        try:
            # socket.send_fds cannot be used, because in Python 3.11 it ignores the address.
            descriptor = array("i", [connection.fileno()])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)]
            self._datagrams.sendmsg([b"c"], rights, 0, self._addresses.address(worker, pid))
        except (ConnectionRefusedError, FileNotFoundError):
            self._loads.retire(worker, pid)  # the worker has ended
            return False
        except OSError:  # the worker is busy, so that its socket is full
            return False
        return True

    def _receive(self) -> None:
        while True:
            try:
                _, descriptors, _, _ = socket.recv_fds(self._datagrams, 1, 1, _CLOSE_ON_EXEC)
            except (BlockingIOError, InterruptedError):
                return
            for descriptor in descriptors:
                self.adopt(socket.socket(fileno=descriptor))

    async def connect(self, connection: socket.socket) -> None:
        """Connect the socket with a protocol; count its end when the connection is lost."""
        ended = _Once(self._loads.end)
        if not await self.greet(connection, partial(_counted, self._factory, ended)):
            ended()


class _Once:
    """A wrapper that calls a function only once."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class _WorkerAddresses:
    """The number of this worker, and the socket addresses of all workers of a home."""

    def __init__(self, home: Path, kind: Kind, worker: int) -> None:
        self.worker = worker
        self._prefix = f"driftline-{hashlib.sha256(bytes(home)).hexdigest()[:16]}-{kind}"

    def address(self, worker: int, pid: int) -> bytes:
        """Return an address in Linux's abstract namespace, which needs no file."""
        return f"\0{self._prefix}-{worker}-{pid}".encode()


def _counted(factory: Factory, ended: _Once) -> asyncio.BaseProtocol:
    """Create a protocol that calls `ended` when its connection is lost."""
    protocol: Any = factory()
    lost = protocol.connection_lost

    def connection_lost(error: Exception | None) -> None:
        ended()
        lost(error)

    protocol.connection_lost = connection_lost
    return protocol  # type: ignore[no-any-return]


def share_rest(home: Home, worker: int, port: int) -> None:
    """Distribute the connections of the REST port, whose server uvicorn creates later.

    BentoML creates uvicorn's server, whose listener cannot be replaced. So this function replaces
    the event loop's `create_server`.
    """
    loop: Any = asyncio.get_running_loop()
    create = loop.create_server

    async def create_server(factory: Factory, *args: Any, **options: Any) -> Any:
        listener = options.get("sock")
        if listener is not None and listener.getsockname()[1] == port:
            shared = SharedListener.listen(
                "rest", home, worker, listener, factory, options.get("ssl")
            )
            if shared is not None:
                return shared
        return await create(factory, *args, **options)

    loop.create_server = create_server
