"""One HTTP/2 connection for gRPC, parsed by zttp, without an asyncio task per call.

All replies of an event-loop iteration are sent in one write.
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

# zttp closes a connection after 8,192 frames of the kinds that floods use, in total. Every call has
# two such frames. A connection is retired before this limit, so that no call is lost.
MOST_CALLS = 3_000  # per connection
MOST_UPDATES = 6_000  # window updates per connection
# zttp counts 256 cancelled calls as a flood. This limit is lower, because after the connection is
# retired, the client can still cancel its open calls.
MOST_CANCELLED = 100  # cancelled calls per connection
# This tuple is a constant because a union of types, created for each event, took 2 % of a call.
_CALL_EVENTS = (zttp.Data, zttp.EndOfMessage, zttp.RstStream)
_LAST_STREAM = 2**31 - 1  # GOAWAY with this id lets open calls finish
# zttp announces flow-control windows of 64 KiB, so that an image would need ten window updates.
# Larger windows are announced here. zttp accepts more data than it announces, and sends window
# updates for all data that it parses.
_CALL_WINDOW = 1 << 20  # bytes that a client may send ahead in a call
_CONNECTION_WINDOW = 4 << 20  # bytes added to zttp's window
_WINDOWS = pack(">HBBBIHI", 0, 6, 4, 0, 0, 4, _CALL_WINDOW) + pack(
    ">HBBBII", 0, 4, 8, 0, 0, _CONNECTION_WINDOW
)
_PING_HEAD = b"\0\0\x08\x06\0\0\0\0\0"
_RETIRING, _KEEPALIVE = b"retiring", b"are you?"  # data of pings
_ENHANCE_YOUR_CALM = 11  # HTTP/2 error code for excessive load
# Maximum number of useless frames per second, between two calls of `check_deadline`: pings,
# settings, and very small pieces of a message.
_MOST_WASTE = 2_000


class Http2Server:
    """The state that all HTTP/2 connections of a worker share."""

    def __init__(  # noqa: PLR0913  # the limits of a worker, all by name
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
        """`limit` is the maximum size of a message in bytes.

        A connection without calls is retired after `keep_alive_s`. A retired connection with open
        calls is closed after `grace_s` if the client sends nothing.
        """
        self.authorizer = authorizer
        self.limit = limit
        self.slots = slots
        self.table = table
        self.buffered = buffered
        self.keep_alive_s = keep_alive_s
        self.grace_s = grace_s
        self.connections: set[Http2Connection] = set()
        self.all_closed = asyncio.Event()  # set while there is no connection


class Http2Connection(asyncio.Protocol):
    """One connection and its open calls."""

    def __init__(self, shared: Http2Server) -> None:
        """`shared` is the state of all connections."""
        self.shared = shared
        self.calls: dict[int, Http2Call] = {}
        self._http2 = zttp.Connection(zttp.SERVER, zttp.HTTP2)
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._flushing = False
        self._retiring = False  # whether GOAWAY was sent
        self._retired = False  # whether the client has read the GOAWAY, or sent one
        self._begun = self._updates = self._cancelled = 0  # calls, window updates, cancelled calls
        self._lagging: set[Http2Call] = set()  # calls with too many unread messages
        self._stalled = False  # whether the client does not read
        self.proven = False  # whether a call of this connection was authorized
        self._may_only_probe = False  # whether only calls without a key are allowed
        self.now = self._loop.time
        self._idle_since = self._received_at = self.now()  # end of the last call; last data
        self._has_settings = False  # whether the client has sent its settings
        self._pinged_at: float | None = None
        self._retired_at = 0.0
        self._unsent, self._unsent_since = 0, 0.0
        self._pending_since: float | None = None  # start of the wait for the client's window
        self._waste = 0  # number of useless frames since `check_deadline`

    @property
    def table(self) -> ConnectionTable:
        """Return the table of the port's connections."""
        return self.shared.table

    # Methods for the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the server's settings and windows."""
        self._transport = transport
        self.shared.connections.add(self)
        self.shared.all_closed.clear()
        self._may_only_probe = not self.shared.table.enter(self)
        self._http2.initiate_connection()
        self.flush()
        self._transport.write(_WINDOWS)

    def data_received(self, data: bytes) -> None:
        """Parse frames and pass them to their calls."""
        self._received_at, self._pinged_at = self.now(), None
        try:
            self._http2.receive_data(data)
            self._handle(self._http2.next_event)
        except zttp.RemoteProtocolError as error:
            _logger.info("closing a gRPC connection: %s", error)
            self.flush()
            self._transport.close()
            return
        self.schedule_flush()

    def pause_writing(self) -> None:
        """Stop reading while the client does not read."""
        self._stalled = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading once the client reads."""
        self._stalled = False
        if not self._lagging:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Cancel every call of the connection."""
        self.shared.table.leave(self)
        self.shared.connections.discard(self)
        if not self.shared.connections:
            self.shared.all_closed.set()
        for call in list(self.calls.values()):
            call.cancel()

    # Methods for calls

    def schedule_flush(self) -> None:
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
        if self._retired and not self.calls and not self._http2.has_pending_send():
            self._transport.close()

    def remove(self, call: Http2Call) -> None:
        """Remove a call that is answered or cancelled."""
        self.shared.slots.leave(call)
        self.calls.pop(call.number, None)
        if not self.calls:
            self._idle_since = self.now()
        self.set_lagging(call, lagging=False)
        self.schedule_flush()

    def set_lagging(self, call: Http2Call, *, lagging: bool) -> None:
        """Pause reading while any call has too many unread messages."""
        if lagging:
            self._lagging.add(call)
            self._transport.pause_reading()
        elif call in self._lagging:
            self._lagging.discard(call)
            if not self._lagging and not self._stalled:
                self._transport.resume_reading()

    def retire(self) -> None:
        """Send GOAWAY; close the connection once all open calls are answered.

        New calls can arrive until the client has read the GOAWAY. The server notices this when the
        client acknowledges a ping that was sent after the GOAWAY.
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
        """Raise Overloaded if the connection is above the limit and may only call open methods."""
        if self._may_only_probe:
            raise Overloaded(
                "the maximum number of connections is open; retry later. Health checks still work"
            )

    def count_waste(self) -> None:
        """Count a useless frame; close the connection if there are too many."""
        self._waste += 1
        if self._waste == _MOST_WASTE:
            _logger.info("closing a gRPC connection: a flood of small frames")
            self._http2.close(_ENHANCE_YOUR_CALM)
            self.flush()
            self._transport.close()

    # Methods for the table of connections

    def waits_since(self) -> float | None:
        """Return the time since which the connection waits for its client; None if a call runs."""
        if any(call.waits_since() is None for call in self.calls.values()):
            return None
        return self._idle_since

    def drop(self) -> None:
        """Close the connection without sending pending data."""
        self._transport.abort()

    def check_deadline(self, now: float) -> None:
        """End calls, or the connection, if the client has not sent or read data for too long."""
        self._waste = 0
        allowed = self.shared.table.limits.client_timeout_s
        if self._is_unread(now, allowed) or self._is_silent(now, allowed):
            self._transport.abort()
            return
        for call in list(self.calls.values()):
            call.check_deadline(now, allowed)
        if not self.calls and not self._retiring:
            idle = self.shared.keep_alive_s if self._has_settings else allowed
            if now - self._idle_since > idle:
                self.retire()

    def _is_unread(self, now: float, allowed: float) -> bool:
        """Return whether the client has not read its replies for the allowed time."""
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
        """Return whether the client is gone; after a time without data, send it a ping."""
        silence = now - self._received_at
        if self._retiring:
            grace = self.shared.grace_s if self.calls else allowed
            return now - self._retired_at > grace and silence > allowed
        if self._pinged_at is not None:
            return now - self._pinged_at > allowed
        if self.calls and silence > self.shared.keep_alive_s:
            self._pinged_at = now
            self._transport.write(_PING_HEAD + _KEEPALIVE)
        return False

    def _handle(self, next_event: Callable[[], zttp.Event]) -> None:
        """Handle parsed events; the checks are ordered by frequency."""
        calls = self.calls
        while (event := next_event()) is not zttp.NEED_DATA:
            if isinstance(event, zttp.WindowUpdate):
                self._update_window(event.stream_id)
            elif isinstance(event, zttp.Request):
                self._begin(event)
            elif isinstance(event, _CALL_EVENTS):
                if isinstance(event, zttp.RstStream):
                    self._cancelled += 1
                    if self._cancelled >= MOST_CANCELLED:
                        self.retire()
                if (call := calls.get(event.stream_id)) is not None:
                    call.handle(event)
            elif isinstance(event, zttp.Settings):
                self._has_settings = True
                self.count_waste()
            elif isinstance(event, zttp.GoAway) or _is_retiring(event):
                self._retired = True
            else:
                self.count_waste()

    def _update_window(self, stream: int) -> None:
        self._updates += 1
        self._pending_since = None
        if self._updates >= MOST_UPDATES:
            self.retire()
        if stream in self.calls:
            self.calls[stream].resume_sending()
        elif stream == 0:
            for call in self.calls.values():
                call.resume_sending()

    def _begin(self, event: zttp.Request) -> None:
        call = Http2Call(self, self._http2.stream(event.stream_id), event.stream_id)
        self.calls[event.stream_id] = call
        self._begun += 1
        if self._begun >= MOST_CALLS:
            self.retire()
        call.begin(event)


def _is_retiring(event: zttp.Event) -> bool:
    """Return whether the client acknowledges the ping that was sent after a GOAWAY."""
    return isinstance(event, zttp.Ping) and event.ack and event.data == _RETIRING
