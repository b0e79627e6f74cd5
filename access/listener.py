"""Accept the connections of a bound socket, for servers whose library offers no hook for it."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

Factory = Callable[[], asyncio.BaseProtocol]

_PAUSE_S = 1.0  # without accepting, once no file can be opened

_logger = logging.getLogger(__name__)


class Listener:
    """A listening socket of this event loop; has what uvicorn uses of an asyncio.Server."""

    def __init__(
        self, listener: socket.socket, factory: Factory, tls: ssl.SSLContext | None
    ) -> None:
        """Accept at once; `listener` must listen and not block."""
        self.sockets = (listener,)
        self._listener = listener
        self._factory = factory
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._adopting: set[asyncio.Task[None]] = set()
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more connections; those that were accepted continue."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def wait_closed(self) -> None:
        """Wait until the connections that were being adopted are."""
        if self._adopting:
            await asyncio.wait(self._adopting)

    def take(self, connection: socket.socket) -> None:
        """Serve an accepted connection."""
        self.adopt(connection)

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection in this process."""
        connection.setblocking(False)  # noqa: FBT003  # the standard library's signature
        task = self._loop.create_task(self.connect(connection))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def connect(self, connection: socket.socket) -> None:
        """Connect the socket with a protocol, after its handshake."""
        await self.greet(connection, self._factory)

    async def greet(self, connection: socket.socket, factory: Factory) -> bool:
        """Return whether the socket is connected with a protocol; otherwise it is closed."""
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
