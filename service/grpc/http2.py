"""One HTTP/2 connection for gRPC, parsed by zttp, without a task for each call.

All replies of one event-loop iteration leave in one write.
"""

import asyncio
import logging
from collections.abc import Callable
from struct import pack
from typing import Any

import zttp

from access.connection_table import ConnectionTable
from service.buffered_bytes import BufferedBytes
from service.errors import Overloaded
from service.grpc.authorization import MethodAuthorizer
from service.grpc.http2_call import Http2Call
from service.grpc.slots import CallSlots

_logger = logging.getLogger(__name__)

# zttp ends a connection after 8,192 frames of the kinds that floods use, over its whole life, and
# every call has two. A connection is retired before that, when no call is lost.
MOST_CALLS = 3_000
MOST_UPDATES = 6_000
# zttp counts 256 cancelled calls as a flood; those in flight may be cancelled, too.
MOST_CANCELLED = 100
# A tuple made once: a union of types, made for each event, took 2 % of a call.
_OF_CALLS = (zttp.Data, zttp.EndOfMessage, zttp.RstStream)
_LAST_STREAM = 2**31 - 1  # GOAWAY with this id lets open calls finish
# zttp lets a client send 64 KiB ahead, so that an image waits for ten updates of the window. It
# takes what arrives whatever it announced, and gives the credit back as it parses.
_AHEAD = 1 << 20  # bytes of one call
_AHEAD_OF_ALL = 4 << 20
_WINDOWS = pack(">HBBBIHI", 0, 6, 4, 0, 0, 4, _AHEAD) + pack(
    ">HBBBII", 0, 4, 8, 0, 0, _AHEAD_OF_ALL
)
_PING_HEAD = b"\0\0\x08\x06\0\0\0\0\0"
_RETIRING, _LISTENING = b"retiring", b"are you?"  # the data of pings
_ENHANCE_YOUR_CALM = 11
# In a second, between two looks: pings, settings, and pieces of a message that are too small.
_MOST_WASTE = 2_000


class Http2Server:
    """The state that all HTTP/2 connections of a worker share."""

    def __init__(  # noqa: PLR0913  # the bounds of a worker, all by name
        self,
        authorizer: MethodAuthorizer,
        *,
        limit: int,
        slots: CallSlots,
        table: ConnectionTable,
        buffered: BufferedBytes,
        keep_alive_s: float,
        grace_s: float,
    ) -> None:
        """`limit` is the largest message in bytes.

        A connection without calls is retired after `keep_alive_s`. A retired one whose calls are
        silent is closed after `grace_s`.
        """
        self.authorizer = authorizer
        self.limit = limit
        self.slots = slots
        self.table = table
        self.buffered = buffered
        self.keep_alive_s = keep_alive_s
        self.grace_s = grace_s
        self.connections: set[Http2Connection] = set()
        self.deserted = asyncio.Event()  # since the last connection went


class Http2Connection(asyncio.Protocol):
    """Dispatch the calls of one connection."""

    def __init__(self, shared: Http2Server) -> None:
        """`shared` is the worker's state."""
        self.shared = shared
        self.calls: dict[int, Http2Call] = {}
        self._http2 = zttp.Connection(zttp.SERVER, zttp.HTTP2)
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._flushing = False
        self._retiring = self._heard = False
        self._begun = self._updates = self._cancelled = 0
        self._unread: set[Http2Call] = set()  # calls whose methods lag behind their messages
        self._stalled = False
        self.proven = False  # whether a call of this connection was authorized
        self._may_only_probe = False
        self.now = self._loop.time
        self._since = self._received_at = self.now()  # when it was without calls, and without data
        self._greeted = False  # whether the client has sent its settings
        self._pinged_at: float | None = None
        self._retired_at = 0.0
        self._unsent, self._unsent_since = 0, 0.0
        self._pending_since: float | None = None  # replies wait for the client's window
        self._waste = 0

    @property
    def table(self) -> ConnectionTable:
        """Return the connections of the port."""
        return self.shared.table

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the server's settings and windows."""
        self._transport = transport
        self.shared.connections.add(self)
        self.shared.deserted.clear()
        self._may_only_probe = not self.shared.table.enter(self)
        self._http2.initiate_connection()
        self.flush()
        self._transport.write(_WINDOWS)

    def data_received(self, data: bytes) -> None:
        """Parse frames; begin, feed and end calls."""
        self._received_at, self._pinged_at = self.now(), None
        try:
            self._http2.receive_data(data)
            self._take(self._http2.next_event)
        except zttp.RemoteProtocolError as error:
            _logger.info("closing a gRPC connection: %s", error)
            self.flush()
            self._transport.close()
            return
        self.soon()

    def pause_writing(self) -> None:
        """Stop reading while the client does not read."""
        self._stalled = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again once the client reads."""
        self._stalled = False
        if not self._unread:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Cancel every call of the connection."""
        self.shared.table.leave(self)
        self.shared.connections.discard(self)
        if not self.shared.connections:
            self.shared.deserted.set()
        for call in list(self.calls.values()):
            call.cancel()

    # Called by calls

    def soon(self) -> None:
        """Schedule a flush at the end of this event-loop iteration."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write all pending frames."""
        self._flushing = False
        data = self._http2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)
        if self._heard and not self.calls and not self._http2.has_pending_send():
            self._transport.close()

    def ended(self, call: Http2Call) -> None:
        """Forget a call that is answered or cancelled."""
        self.shared.slots.leave(call)
        self.calls.pop(call.number, None)
        if not self.calls:
            self._since = self.now()
        self.behind(call, behind=False)
        self.soon()

    def behind(self, call: Http2Call, *, behind: bool) -> None:
        """Pause reading while the method of a call lags behind its messages."""
        if behind:
            self._unread.add(call)
            self._transport.pause_reading()
        elif call in self._unread:
            self._unread.discard(call)
            if not self._unread and not self._stalled:
                self._transport.resume_reading()

    def retire(self) -> None:
        """Send GOAWAY, and close once all open calls are answered.

        New calls may arrive until the client has read the GOAWAY: until it acknowledges a ping.
        """
        if not self._retiring:
            self._retiring = True
            self._retired_at = self.now()
            self._http2.close(0, _LAST_STREAM)
            self.flush()
            self._transport.write(_PING_HEAD + _RETIRING)

    def close(self) -> None:
        """Close the connection immediately."""
        self._transport.close()

    def check_restriction(self) -> None:
        """Raise Overloaded if the connection may only probe, as all others are taken."""
        if self._may_only_probe:
            raise Overloaded("every connection is taken; retry later, or probe the health")

    def count_waste(self) -> None:
        """Count a frame that brings nothing forward; end the connection of a flood."""
        self._waste += 1
        if self._waste == _MOST_WASTE:
            _logger.info("closing a gRPC connection: a flood of small frames")
            self._http2.close(_ENHANCE_YOUR_CALM)
            self.flush()
            self._transport.close()

    # Called by the table

    def waits_since(self) -> float | None:
        """Return since when the connection waits for its client; None if a call runs."""
        if any(call.waits_since() is None for call in self.calls.values()):
            return None
        return self._since

    def drop(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def check_deadline(self, now: float) -> None:
        """End what the client has left waiting for too long: calls, replies, the connection."""
        self._waste = 0
        allowed = self.shared.table.limits.client_timeout_s
        if self._is_unread(now, allowed) or self._is_silent(now, allowed):
            self._transport.abort()
            return
        for call in list(self.calls.values()):
            call.check_deadline(now, allowed)
        if not self.calls and not self._retiring:
            idle = self.shared.keep_alive_s if self._greeted else allowed
            if now - self._since > idle:
                self.retire()

    def _is_unread(self, now: float, allowed: float) -> bool:
        """Return whether the client has read nothing of its replies for the allowed time."""
        unsent = self._transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        if not self._http2.has_pending_send():
            self._pending_since = None
        elif self._pending_since is None:
            self._pending_since = now
        pending = now if self._pending_since is None else self._pending_since
        return now - min(pending, self._unsent_since) > allowed

    def _is_silent(self, now: float, allowed: float) -> bool:
        """Return whether the client is gone; ask it by a ping after a time without data."""
        silence = now - self._received_at
        if self._retiring:
            grace = self.shared.grace_s if self.calls else allowed
            return now - self._retired_at > grace and silence > allowed
        if self._pinged_at is not None:
            return now - self._pinged_at > allowed
        if self.calls and silence > self.shared.keep_alive_s:
            self._pinged_at = now
            self._transport.write(_PING_HEAD + _LISTENING)
        return False

    def _take(self, next_event: Callable[[], zttp.Event]) -> None:
        """Handle parsed events; the checks are ordered by frequency."""
        calls = self.calls
        while (event := next_event()) is not zttp.NEED_DATA:
            if isinstance(event, zttp.WindowUpdate):
                self._updated(event.stream_id)
            elif isinstance(event, zttp.Request):
                self._begin(event)
            elif isinstance(event, _OF_CALLS):
                if isinstance(event, zttp.RstStream):
                    self._cancelled += 1
                    if self._cancelled >= MOST_CANCELLED:
                        self.retire()
                if (call := calls.get(event.stream_id)) is not None:
                    call.take(event)
            elif isinstance(event, zttp.Settings):
                self._greeted = True
                self.count_waste()
            elif isinstance(event, zttp.GoAway) or _is_retiring(event):
                self._heard = True
            else:
                self.count_waste()

    def _updated(self, stream: int) -> None:
        self._updates += 1
        self._pending_since = None
        if self._updates >= MOST_UPDATES:
            self.retire()
        if stream in self.calls:
            self.calls[stream].room()
        elif stream == 0:
            for call in self.calls.values():
                call.room()

    def _begin(self, event: zttp.Request) -> None:
        call = Http2Call(self, self._http2.stream(event.stream_id), event.stream_id)
        self.calls[event.stream_id] = call
        self._begun += 1
        if self._begun >= MOST_CALLS:
            self.retire()
        call.begin(event)


def _is_retiring(event: zttp.Event) -> bool:
    """Return whether the client acknowledges the ping of a connection that retires."""
    return isinstance(event, zttp.Ping) and event.ack and event.data == _RETIRING
