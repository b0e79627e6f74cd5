"""Count TLS handshakes as connections of their port, and bound their time.

asyncio creates a connection's protocol before the handshake and calls it after. A client that
never finishes its handshake would hold a file that no table of connections knows.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Any

from access.connection_table import ConnectionTable
from access.listener import Factory, Listener


def count_handshakes(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Count handshakes of this loop's later servers, and close those that take longer.

    They count in the `table` of the protocol, if it has one. uvicorn offers no way to state this;
    asyncio's own limit is 60 s.
    """
    changed: Any = loop
    connect, create = changed.connect_accepted_socket, changed.create_server

    def bounded(options: dict[str, Any]) -> dict[str, Any]:
        return {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds, **options}

    async def connect_counted(factory: Factory, sock: socket.socket, **options: Any) -> Any:
        if options.get("ssl") is None:
            return await connect(factory, sock, **options)
        protocol: Any = factory()
        table: ConnectionTable | None = getattr(protocol, "table", None)
        if table is None:
            return await connect(lambda: protocol, sock, **bounded(options))
        handshake = _Handshake(sock, loop.time())
        table.enter(handshake)
        _leave_when_made(protocol, table, handshake)
        try:
            return await connect(lambda: protocol, sock, **bounded(options))
        finally:
            table.leave(handshake)

    async def create_counted(factory: Factory, *args: Any, **options: Any) -> Any:
        listener, tls = options.get("sock"), options.get("ssl")
        if tls is None:
            return await create(factory, *args, **options)
        if listener is None:
            return await create(factory, *args, **bounded(options))
        listener.listen(options.get("backlog", 100))
        listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
        return Listener(listener, factory, tls)

    changed.connect_accepted_socket, changed.create_server = connect_counted, create_counted


def _leave_when_made(protocol: Any, table: ConnectionTable, handshake: "_Handshake") -> None:
    """Replace the handshake by its connection."""

    def connection_made(transport: asyncio.BaseTransport) -> None:
        table.leave(handshake)
        del protocol.connection_made
        protocol.connection_made(transport)

    protocol.connection_made = connection_made


class _Handshake:
    """A connection before its protocol; makes way as every stranger does."""

    proven = False

    def __init__(self, connection: socket.socket, since: float) -> None:
        self._connection = connection
        self._since = since

    def waits_since(self) -> float:
        """Return since when the handshake waits for its client."""
        return self._since

    def check_deadline(self, now: float) -> None:
        """Do nothing: the event loop ends handshakes that take too long."""

    def drop(self) -> None:
        """Close the connection at once."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
