"""Bound the connections of one port: their number, and how long each may keep the port waiting.

A client that has shown a valid key is proven. At the limit, the connections of strangers that wait
for their client make way for new ones, the longest wait first. If none waits, a new connection
may only probe, and probes have a reserve of their own: health is answered whatever the load.
"""

import asyncio
import heapq
from typing import Protocol

import msgspec

RESERVE = 32  # connections beyond the limit that may only probe
SLOWEST = 16_384  # bytes a second; a larger message has more time
_SWEEP_S = 1.0  # seconds between checks of all connections
_EVICTED_SHARE = 32  # one of so many connections makes way at once


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Bounds of what the clients of a port may take."""

    connections: int = 4_096
    client_timeout_s: float = 20.0  # for a head, a body, a reply that is not read


class TableConnection(Protocol):
    """A connection as its table uses it."""

    proven: bool  # whether its client has shown a valid key, or needs none

    def waits_since(self) -> float | None:
        """Return since when the connection waits for its client; None if a request runs."""
        ...

    def check_deadline(self, now: float) -> None:
        """Close the connection if its client has taken too long."""
        ...

    def drop(self) -> None:
        """Close the connection at once."""
        ...


class ConnectionTable:
    """The connections of one port in one process; belongs to one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._connections: dict[TableConnection, None] = {}  # oldest first
        self._probes: dict[TableConnection, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections) + len(self._probes)

    def enter(self, connection: TableConnection) -> bool:
        """Add a connection; return whether it may send every request, or only probes."""
        if self._timer is None:
            self._sweep_later()
        if len(self._connections) >= self.limits.connections:
            self._evict()
        if len(self._connections) < self.limits.connections:
            self._connections[connection] = None
            return True
        if len(self._probes) >= RESERVE:
            self._drop(self._probes, next(iter(self._probes)))
        self._probes[connection] = None
        return False

    def leave(self, connection: TableConnection) -> None:
        """Remove a connection that is lost."""
        self._connections.pop(connection, None)
        self._probes.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Close every connection whose client has taken too long."""
        for connection in (*self._connections, *self._probes):
            connection.check_deadline(now)

    def _evict(self) -> None:
        """Drop the strangers that have waited longest, several at a time: each scan costs time."""
        waiting = [
            (since, number, connection)
            for number, connection in enumerate(self._connections)
            if not connection.proven and (since := connection.waits_since()) is not None
        ]
        count = max(1, self.limits.connections // _EVICTED_SHARE)
        for _, _, connection in heapq.nsmallest(count, waiting):
            self._drop(self._connections, connection)

    def _drop(self, table: dict[TableConnection, None], connection: TableConnection) -> None:
        del table[connection]
        connection.drop()

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SWEEP_S, self._sweep_now, loop)

    def _sweep_now(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self.sweep(loop.time())
        if self._connections or self._probes:
            self._sweep_later()
