"""Count TLS handshakes as connections of their port, and limit their duration.

asyncio creates a connection's protocol before the handshake, but calls it only afterwards. A
client that never finishes its handshake would occupy a socket that no connection table counts.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Any

from access.connection_table import ConnectionTable
from access.listener import Factory, Listener


def count_handshakes(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Count the handshakes of servers that this loop starts later; close them after `seconds`.

    A handshake counts in the protocol's `table`, if the protocol has a table. The functions of
    the loop are replaced because uvicorn has no setting for asyncio's limit of 60 s.
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
    """Remove the handshake from the table when its connection enters."""

    def connection_made(transport: asyncio.BaseTransport) -> None:
        table.leave(handshake)
        del protocol.connection_made
        protocol.connection_made(transport)

    protocol.connection_made = connection_made


class _Handshake:
    """A connection during its TLS handshake; at the limit, it is closed like unproven clients."""

    proven = False

    def __init__(self, connection: socket.socket, since: float) -> None:
        self._connection = connection
        self._since = since

    def waits_since(self) -> float:
        """Return when the handshake began."""
        return self._since

    def check_deadline(self, now: float) -> None:
        """Do nothing, because the event loop ends handshakes that take too long."""

    def drop(self) -> None:
        """Close the connection immediately."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
