"""One HTTP/2 connection that carries gRPC, read and written by zttp, without a task for each call.

Everything that the calls of one turn of the event loop have to say leaves in one write.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import zttp

from service.grpc.authorization import MethodAuthorizer
from service.grpc.http2_call import Http2Call

_logger = logging.getLogger(__name__)

# zttp ends a connection after 8,192 frames of the kind that floods are made of, and never forgets
# one; every call brings two. So a connection is given up before, when nothing is lost by it.
MOST_CALLS = 3_000
MOST_UPDATES = 6_000
# 256 calls that were left before their answer are another flood; those in flight may be left, too.
MOST_LEFT = 100
_LAST_STREAM = 2**31 - 1  # says: what was begun goes on
_PING = b"\0\0\x08\x06\0\0\0\0\0retiring"  # a whole frame


class Http2Server:
    """What all connections of a worker share."""

    def __init__(self, authorizer: MethodAuthorizer, *, limit: int, most_calls: int) -> None:
        """`limit` is in bytes, of one message; `most_calls` are taken at once."""
        self.authorizer = authorizer
        self.limit = limit
        self.most_calls = most_calls
        self.calls = 0
        self.connections: set[Http2Connection] = set()
        self.deserted = asyncio.Event()  # since the last connection went


class Http2Connection(asyncio.Protocol):
    """Finds the method of each call, and keeps its calls until they are answered."""

    def __init__(self, shared: Http2Server) -> None:
        """`shared` is the worker's."""
        self.shared = shared
        self.calls: dict[int, Http2Call] = {}
        self._http2 = zttp.Connection(zttp.SERVER, zttp.HTTP2)
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._flushing = False
        self._retiring = self._heard = False
        self._begun = self._updates = self._left = 0
        self._unread: set[Http2Call] = set()  # calls whose methods are behind with reading
        self._stalled = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we take."""
        self._transport = transport
        self.shared.connections.add(self)
        self.shared.deserted.clear()
        self._http2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Begin, feed and end calls."""
        try:
            self._http2.receive_data(data)
            self._take(self._http2.next_event)
        except zttp.RemoteProtocolError as error:
            _logger.info("a gRPC connection ends: %s", error)
            self.flush()
            self._transport.close()
            return
        self.soon()

    def pause_writing(self) -> None:
        """The caller does not read: take no more from it."""
        self._stalled = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._stalled = False
        if not self._unread:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Nobody is left to be answered."""
        self.shared.connections.discard(self)
        if not self.shared.connections:
            self.shared.deserted.set()
        for call in list(self.calls.values()):
            call.left()

    # What calls call

    def soon(self) -> None:
        """Write at the end of this turn of the event loop what there is to write."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what there is to write."""
        self._flushing = False
        data = self._http2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)
        if self._heard and not self.calls and not self._http2.has_pending_send():
            self._transport.close()

    def ended(self, call: Http2Call) -> None:
        """A call has its answer or nobody to hear it."""
        if self.calls.pop(call.number, None) is not None:
            self.shared.calls -= 1
        self.behind(call, behind=False)
        self.soon()

    def behind(self, call: Http2Call, *, behind: bool) -> None:
        """Whether the method of a call is behind with reading, so that more must wait."""
        if behind:
            self._unread.add(call)
            self._transport.pause_reading()
        elif call in self._unread:
            self._unread.discard(call)
            if not self._unread and not self._stalled:
                self._transport.resume_reading()

    def retire(self) -> None:
        """Let the caller go elsewhere with new calls, and close once the old ones are answered.

        Calls may be on their way until the caller has heard, which its answer to a ping shows.
        """
        if not self._retiring:
            self._retiring = True
            self._http2.close(0, _LAST_STREAM)
            self.flush()
            self._transport.write(_PING)

    def close(self) -> None:
        """Close now."""
        self._transport.close()

    def _take(self, next_event: Callable[[], zttp.Event]) -> None:
        """Follow what came, the most frequent first."""
        calls = self.calls
        while (event := next_event()) is not zttp.NEED_DATA:
            if isinstance(event, zttp.WindowUpdate):
                self._updated(event.stream_id)
            elif isinstance(event, zttp.Request):
                self._begin(event)
            elif isinstance(event, zttp.Data | zttp.EndOfMessage | zttp.RstStream):
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
