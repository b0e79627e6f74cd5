"""Limit the number of a port's connections, and the time that each waits for its client.

A connection is proven once its client has sent a valid key. At the limit, a new connection
replaces unproven connections that wait for their clients, the longest wait first. If no unproven
connection waits, the new connection can only probe health. Probes have separate reserved places,
so they are answered at any load.
"""

import asyncio
import heapq
from typing import Protocol

import msgspec

RESERVE = 32  # connections beyond the limit that can only probe
SLOWEST = 16_384  # bytes per second of the slowest accepted client; large messages get more time
_SWEEP_S = 1.0  # seconds between checks of all connections
_EVICTED_SHARE = 32  # at the limit, 1 in 32 connections is closed


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Limits for the clients of a port."""

    connections: int = 4_096
    client_timeout_s: float = 20.0  # for sending a head, sending a body, or reading a reply


class TableConnection(Protocol):
    """The part of a connection that its table uses."""

    proven: bool  # whether the client has sent a valid key, or needs no key

    def waits_since(self) -> float | None:
        """Return when the connection began to wait for its client; None while a request runs."""
        ...

    def check_deadline(self, now: float) -> None:
        """Close the connection if its client has taken too long."""
        ...

    def drop(self) -> None:
        """Close the connection immediately."""
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
        """Add a connection; return False if it can only send health probes."""
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
        """Remove a closed connection."""
        self._connections.pop(connection, None)
        self._probes.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Close every connection whose client has taken too long."""
        for connection in (*self._connections, *self._probes):
            connection.check_deadline(now)

    def _evict(self) -> None:
        """Close the unproven connections that have waited longest, several at once.

        A scan of all connections takes time, so it should not run for every new connection.
        """
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
