"""Spread connections evenly over the workers of a service.

The kernel gives a new connection to whichever worker asks first, or by a hash of its address: with
few long connections, one worker may hold nearly all of them. Here a worker that accepts a
connection passes it to the worker with the fewest, over a Unix datagram socket.
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
    """The listening socket of one worker."""

    def __init__(
        self,
        listener: socket.socket,
        factory: Factory,
        tls: ssl.SSLContext | None,
        loads: ConnectionLoads,
        place: "_Place",
    ) -> None:
        """Use `listen` to create one."""
        self._loads = loads
        self._place = place
        self._post = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._post.setblocking(False)  # noqa: FBT003  # the standard library's signature
        self._post.bind(place.address(place.worker, os.getpid()))
        super().__init__(listener, factory, tls)
        self._loop.add_reader(self._post.fileno(), self._receive)

    @classmethod
    def listen(  # noqa: PLR0913, PLR0917  # what a listener is made of
        cls,
        kind: Kind,
        home: Home,
        worker: int,
        listener: socket.socket,
        factory: Factory,
        tls: ssl.SSLContext | None,
        backlog: int = 1024,
    ) -> Self | None:
        """Share the connections of a bound socket; None if that is not possible."""
        if sys.platform != "linux" or worker >= MOST_WORKERS:
            return None
        try:
            loads = ConnectionLoads(home.workers / f"{kind}.connections", worker)
            listener.listen(backlog)
            listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
            return cls(listener, factory, tls, loads, _Place(home.root, kind, worker))
        except OSError as error:
            _logger.warning("connections are not spread over the workers: %s", error)
            return None

    def close(self) -> None:
        """Accept and adopt no more connections; those that were accepted continue."""
        if self._post.fileno() < 0:
            return
        self._loads.retire(self._place.worker, os.getpid())
        super().close()
        self._receive()  # what other workers have passed already
        self._loop.remove_reader(self._post.fileno())
        self._post.close()

    def take(self, connection: socket.socket) -> None:
        """Pass a connection to the worker with the fewest, or serve it."""
        for worker, pid in self._candidates():
            if worker == self._place.worker:
                break
            self._loads.give(worker)
            if self._pass(connection, worker, pid):
                connection.close()
                return
            self._loads.give(worker, -1)
        self._loads.give(self._place.worker)
        self.adopt(connection)

    def _candidates(self) -> list[tuple[int, int]]:
        """Return worker and process id, those with the fewest connections first."""
        own = self._place.worker
        live = self._loads.live()
        return sorted(live.items(), key=lambda entry: (self._loads.load(entry[0]), entry[0] != own))

    def _pass(self, connection: socket.socket, worker: int, pid: int) -> bool:
        try:
            # Not socket.send_fds: Python 3.11's ignores the address.
            descriptor = array("i", [connection.fileno()])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)]
            self._post.sendmsg([b"c"], rights, 0, self._place.address(worker, pid))
        except (ConnectionRefusedError, FileNotFoundError):
            self._loads.retire(worker, pid)  # it has ended
            return False
        except OSError:  # its queue is full: it is busy
            return False
        return True

    def _receive(self) -> None:
        while True:
            try:
                _, descriptors, _, _ = socket.recv_fds(self._post, 1, 1, _CLOSE_ON_EXEC)
            except (BlockingIOError, InterruptedError):
                return
            for descriptor in descriptors:
                self.adopt(socket.socket(fileno=descriptor))

    async def connect(self, connection: socket.socket) -> None:
        """Connect the socket with a protocol, and count it until it is lost."""
        ended = _Once(self._loads.end)
        if not await self.greet(connection, partial(_counted, self._factory, ended)):
            ended()


class _Once:
    """Call a function the first time only."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class _Place:
    """One worker's place among those of a home, and the address of every place."""

    def __init__(self, home: Path, kind: Kind, worker: int) -> None:
        self.worker = worker
        self._prefix = f"driftline-{hashlib.sha256(bytes(home)).hexdigest()[:16]}-{kind}"

    def address(self, worker: int, pid: int) -> bytes:
        """Return an address in Linux's abstract namespace, which leaves no file behind."""
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
    """Spread the connections of the REST port, whose server uvicorn creates later on this loop.

    uvicorn offers no way to state how connections are accepted, and BentoML creates it.
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
