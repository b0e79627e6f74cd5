"""One HTTP/2 connection for gRPC, parsed by zttp, without a task for each call.

All replies of one event-loop iteration leave in one write.
"""

import asyncio
import logging
from collections.abc import Callable
from struct import pack
from typing import Any

import zttp

from service.grpc.authorization import MethodAuthorizer
from service.grpc.http2_call import Http2Call

_logger = logging.getLogger(__name__)

# zttp ends a connection after 8,192 frames of the kinds that floods use, over its whole life, and
# every call has two. A connection is retired before that, when no call is lost.
MOST_CALLS = 3_000
MOST_UPDATES = 6_000
# zttp counts 256 cancelled calls as a flood; those in flight may be cancelled, too.
MOST_LEFT = 100
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
_PING = b"\0\0\x08\x06\0\0\0\0\0retiring"  # a complete frame


class Http2Server:
    """The state that all HTTP/2 connections of a worker share."""

    def __init__(self, authorizer: MethodAuthorizer, *, limit: int, most_calls: int) -> None:
        """`limit` is the largest message in bytes; `most_calls` bounds concurrent calls."""
        self.authorizer = authorizer
        self.limit = limit
        self.most_calls = most_calls
        self.calls = 0
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
        self._begun = self._updates = self._left = 0
        self._unread: set[Http2Call] = set()  # calls whose methods lag behind their messages
        self._stalled = False

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the server's settings and windows."""
        self._transport = transport
        self.shared.connections.add(self)
        self.shared.deserted.clear()
        self._http2.initiate_connection()
        self.flush()
        self._transport.write(_WINDOWS)

    def data_received(self, data: bytes) -> None:
        """Parse frames; begin, feed and end calls."""
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
        self.shared.connections.discard(self)
        if not self.shared.connections:
            self.shared.deserted.set()
        for call in list(self.calls.values()):
            call.left()

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
        if self.calls.pop(call.number, None) is not None:
            self.shared.calls -= 1
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
            self._http2.close(0, _LAST_STREAM)
            self.flush()
            self._transport.write(_PING)

    def close(self) -> None:
        """Close the connection immediately."""
        self._transport.close()

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
                    self._left += 1
                    if self._left >= MOST_LEFT:
                        self.retire()
                if (call := calls.get(event.stream_id)) is not None:
                    call.take(event)
            elif isinstance(event, zttp.GoAway) or (isinstance(event, zttp.Ping) and event.ack):
                self._heard = True

    def _updated(self, stream: int) -> None:
        self._updates += 1
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
        self.shared.calls += 1
        self._begun += 1
        if self._begun >= MOST_CALLS:
            self.retire()
        call.begin(event)
