"""Accept the connections of a socket, for server libraries that offer no hook for accepting."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

Factory = Callable[[], asyncio.BaseProtocol]

_PAUSE_S = 1.0  # seconds before connections are accepted again after too many open files

_logger = logging.getLogger(__name__)


class Listener:
    """A listening socket of this event loop, with the part of asyncio.Server that uvicorn uses."""

    def __init__(
        self, listener: socket.socket, factory: Factory, tls: ssl.SSLContext | None
    ) -> None:
        """Start to accept connections; `listener` must already listen, and be non-blocking."""
        self.sockets = (listener,)
        self._listener = listener
        self._factory = factory
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._adopting: set[asyncio.Task[None]] = set()
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more connections; open connections continue."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def wait_closed(self) -> None:
        """Wait until every accepted connection has a protocol."""
        if self._adopting:
            await asyncio.wait(self._adopting)

    def take(self, connection: socket.socket) -> None:
        """Handle an accepted connection; a subclass can pass it to another process."""
        self.adopt(connection)

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection in this process."""
        connection.setblocking(False)  # noqa: FBT003  # the standard library's signature
        task = self._loop.create_task(self.connect(connection))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def connect(self, connection: socket.socket) -> None:
        """Perform the TLS handshake, if any, and attach a protocol to the socket."""
        await self.greet(connection, self._factory)

    async def greet(self, connection: socket.socket, factory: Factory) -> bool:
        """Attach a protocol to the socket; close the socket and return False if this fails."""
        try:
            await self._loop.connect_accepted_socket(factory, connection, ssl=self._tls)
        except OSError:  # a failed handshake, or the client has left
            with suppress(OSError):
                connection.close()
            return False
        return True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # another worker was faster, or the client has left
        except OSError as error:  # too many open files
            _logger.warning("a connection cannot be accepted: %s", error.strerror)
            self._loop.remove_reader(self._listener.fileno())
            self._loop.call_later(_PAUSE_S, self._resume)
            return
        self.take(connection)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener.fileno(), self._accept)
