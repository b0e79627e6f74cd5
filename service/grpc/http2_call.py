"""One gRPC call on an HTTP/2 connection, unary or streaming, from its headers to its trailers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING

import zttp

from access.authorization_header import join_headers
from access.connection_table import SLOWEST
from access.errors import AccessError
from eventlog.errors import DriftlineError
from service.errors import Expired, InvalidRequest, LimitExceeded, Overloaded
from service.grpc import wire
from service.grpc.calls import Method, Streaming, TrailingMetadata, Unary, public_error
from service.grpc.limits import LONGEST_METADATA, LONGEST_OPEN_MESSAGE
from service.grpc.wire import Header, MessageDecoder
from service.protocol.routing_key import ROUTING_KEY, read_key

if TYPE_CHECKING:
    from service.grpc.http2 import Http2Connection

_SMALL = 1_024  # bytes; a smaller piece of an incomplete message counts as a useless frame
_MOST_UNREAD = 1 << 20  # bytes queued for a method above which reading pauses


class Http2Call:
    """One call; implements `calls.CallContext` and the interface of the worker's slots."""

    __slots__ = (
        "_accepted",
        "_buffered",
        "_client_ended",
        "_connection",
        "_deadline",
        "_encoding",
        "_ended",
        "_head_sent",
        "_messages",
        "_method",
        "_origin",
        "_since",
        "_stream",
        "_streaming",
        "_timer",
        "_window_update",
        "authorization",
        "number",
        "on_cancel",
        "routing_key",
        "traceparent",
    )  # fmt: skip

    def __init__(self, connection: "Http2Connection", stream: zttp.Stream, number: int) -> None:
        """`number` is the HTTP/2 stream id."""
        self.number = number
        self.authorization: bytes | None = None
        self.traceparent = ""
        self.routing_key = ""
        self.on_cancel: Callable[[], None] | None = None
        self._connection = connection
        self._stream = stream
        self._method: Method | None = None
        self._streaming: _RequestStream | None = None
        self._deadline: float | None = None
        self._encoding = b"identity"
        self._accepted = b""
        self._origin: bytes | None = None
        self._messages: MessageDecoder | None = None
        self._head_sent = self._ended = self._client_ended = False
        self._buffered = 0  # bytes of an incomplete message, counted in the worker's limit
        self._since = connection.now()  # arrival of the headers, or start of an incomplete message
        self._window_update: asyncio.Event | None = None  # exists while sending waits for it
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, event: zttp.Request) -> None:
        """Read the headers and find the method."""
        try:
            kind = self._read(event.headers)
            if event.method != b"POST" or not kind.startswith(wire.CONTENT_TYPE):
                self._refuse_content_type()
                return
            connection, shared = self._connection, self._connection.shared
            path = event.path.decode("latin-1")
            self._method = shared.authorizer.authorize(path, self.authorization, self._origin)
            is_open = shared.authorizer.is_open(path)
            if not is_open:
                connection.check_restriction()
                connection.proven = True
            shared.slots.enter(self, is_open=is_open)
            if self._method is None:
                self._finish([(b"grpc-status", b"12"), (b"grpc-message", b"no such method")])
                return
            wire.check_encoding(self._encoding)
            limit = LONGEST_OPEN_MESSAGE if is_open else shared.limit
            self._messages = MessageDecoder(limit, self._encoding)
        except DriftlineError as error:
            self._reject(error)
            return
        if isinstance(self._method, Streaming):
            self._streaming = _RequestStream(self, self._connection)
            task = asyncio.create_task(self._stream_replies(self._method, self._streaming))
            self.on_cancel = task.cancel  # type: ignore[assignment]  # its return value is not used
            if (seconds := self.seconds_left()) is not None:
                self._timer = asyncio.get_running_loop().call_later(max(seconds, 0), self._expire)
        if event.end_stream:
            self.end()

    def check_deadline(self, now: float, allowed: float) -> None:
        """Refuse the call if its client takes too long to send a message."""
        since = self.waits_since()
        if since is not None and now - since > allowed + self._buffered / SLOWEST:
            self._reject(Expired(f"the client took over {allowed:.0f} s to send a message"))

    def waits_since(self) -> float | None:
        """Return the time since which the call waits for a message; None if it does not wait."""
        if self._buffered or (isinstance(self._method, Unary) and not self._ended):
            return self._since
        return None

    def evict(self, error: DriftlineError) -> None:
        """End the call with an error."""
        self._reject(error)

    def handle(self, event: zttp.Data | zttp.EndOfMessage | zttp.RstStream) -> None:
        """Handle an event of this call."""
        if isinstance(event, zttp.Data):
            self.feed(event.data)
        elif isinstance(event, zttp.EndOfMessage):
            self.end()
        else:
            self.cancel()

    def feed(self, data: bytes) -> None:
        """Decode a piece of the client's messages."""
        messages = self._messages
        if self._ended or messages is None:
            return
        try:
            for message in messages.feed(data):
                self._handle_message(message)
            if (messages.size or self._buffered) and not self._ended:
                self._count_buffered(messages.size, len(data))
        except DriftlineError as error:
            self._reject(error)

    def end(self) -> None:
        """Handle the end of the client's messages."""
        self._client_ended = True
        if self._ended or self._messages is None:
            return
        try:
            self._messages.finish()
            if self._streaming is not None:
                self._streaming.put(None)
            elif self._method is not None:
                raise InvalidRequest("the call has no message; expected 1 message")
        except DriftlineError as error:
            self._reject(error)

    def cancel(self) -> None:
        """Cancel the call, because the client has reset it or disconnected."""
        if self._ended:
            return
        self._ended = self._client_ended = True
        if self.on_cancel is not None:
            self.on_cancel()
        self._release()

    def resume_sending(self) -> None:
        """Continue sending, because the client's window has grown."""
        if self._window_update is not None:
            self._window_update.set()

    def seconds_left(self) -> float | None:
        """Return the seconds until the client's deadline, None without a deadline."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def answer(self, message: bytes, trailing: TrailingMetadata = ()) -> None:
        """Reply with an encoded message."""
        if not self._ended:
            self._send(message)
            self._finish(wire.trailers(trailing))

    def refuse(self, error: DriftlineError, trailing: TrailingMetadata = ()) -> None:
        """Reply with the status of an error."""
        if not self._ended:
            self._finish(wire.error_trailers(error, trailing))

    def _read(self, headers: Iterable[Header]) -> bytes:
        """Read the call's metadata; return its content type."""
        metadata = dict(headers)
        size = len(b"".join(chain.from_iterable(headers)))
        if size > LONGEST_METADATA:
            raise LimitExceeded(
                f"the metadata has {size} bytes; expected at most {LONGEST_METADATA}"
            )
        if b"authorization" in metadata:
            self.authorization = join_headers(v for name, v in headers if name == b"authorization")
        self._origin = metadata.get(b"origin")
        self._encoding = metadata.get(b"grpc-encoding", b"identity")
        if (timeout := metadata.get(b"grpc-timeout")) is not None:
            self._deadline = time.monotonic() + wire.read_timeout(timeout)
        if (traceparent := metadata.get(b"traceparent")) is not None:
            self.traceparent = traceparent.decode("latin-1")
        if (key := metadata.get(ROUTING_KEY)) is not None:
            self.routing_key = read_key(key)
        self._accepted = metadata.get(b"grpc-accept-encoding", b"")
        return metadata.get(b"content-type", b"")

    def _count_buffered(self, size: int, piece: int) -> None:
        """Count an incomplete message of `size` bytes, after a piece of `piece` bytes.

        Raises Overloaded over the worker's limit.
        """
        buffered = self._connection.shared.buffered
        if size > self._buffered:
            buffered.add(size - self._buffered)
        else:
            buffered.release(self._buffered - size)
        if size and not self._buffered:
            self._since = self._connection.now()
        self._buffered = size
        if size and piece < _SMALL:
            self._connection.count_waste()

    def _handle_message(self, message: bytes) -> None:
        method = self._method
        if self._streaming is not None:
            self._streaming.put(message)
        elif isinstance(method, Unary):
            self._method = None  # a further message is an error
            method.handle(message, self)
        else:
            raise InvalidRequest("the call has more than one message; expected 1 message")

    def _reject(self, error: DriftlineError) -> None:
        """Refuse the call, with an event if the method logs refusals."""
        method, self._method = self._method, None
        if self._ended:
            return
        if self.on_cancel is not None:
            self.on_cancel()
        if isinstance(method, Unary) and not isinstance(error, AccessError):
            method.reject(error, self)
        else:
            self.refuse(error)
        if not self._client_ended and not self._stream.pending_bytes:
            self._stream.reset(0)  # ignore the rest; a reset would discard pending trailers

    def _refuse_content_type(self) -> None:
        self._ended = True
        self._stream.send_response(415, [], end_stream=True)
        self._release()

    async def _stream_replies(self, method: Streaming, requests: "_RequestStream") -> None:
        try:
            async for reply in method.handle(requests.read(), self):
                if self._ended:
                    return
                self._send(reply)
                self._connection.schedule_flush()
                await self._drain()
        except Exception as error:  # noqa: BLE001  # the client must get a status
            self.refuse(public_error(error))
        else:
            if not self._ended:
                self._finish(wire.trailers(()))

    async def _drain(self) -> None:
        """Wait until the client's window allows to send all pending replies.

        Reading continues meanwhile, because window updates arrive behind unread messages.
        """
        while not self._ended and self._stream.pending_bytes:
            self._window_update = asyncio.Event()
            self._connection.set_lagging(self, lagging=False)
            await self._window_update.wait()
        self._window_update = None

    @property
    def is_blocked(self) -> bool:
        """Whether replies wait until the client reads."""
        return self._window_update is not None

    def _send(self, message: bytes) -> None:
        compresses = len(message) >= wire.WORTH_COMPRESSING and self._compresses()
        if not self._head_sent:
            self._head_sent = True
            encoding = [(b"grpc-encoding", self._encoding)] if compresses else []
            self._stream.send_response(200, [*wire.HEAD, *encoding])
        self._stream.send_data(
            wire.compressed(message, self._encoding) if compresses else wire.message(message)
        )

    def _compresses(self) -> bool:
        """Return whether the client accepts the compression that it uses."""
        return self._encoding != b"identity" and self._encoding in self._accepted

    def _finish(self, trailers: list[Header]) -> None:
        self._ended = True
        if self._head_sent:
            self._stream.end_message(trailers)
        else:
            self._stream.send_response(200, [*wire.HEAD, *trailers], end_stream=True)
        self._release()

    def _expire(self) -> None:
        """End a stream whose deadline has passed; the pipeline checks unary calls."""
        self._reject(Expired("the deadline passed while the stream was open"))

    def _release(self) -> None:
        self._messages = None
        if self._buffered:
            self._connection.shared.buffered.release(self._buffered)
            self._buffered = 0
        if self._timer is not None:
            self._timer.cancel()
        self._connection.remove(self)


class _RequestStream:
    """The queue of a stream's messages between the connection and the method."""

    def __init__(self, call: Http2Call, connection: "Http2Connection") -> None:
        self._call = call
        self._connection = connection
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._size = 0
        self._most = _MOST_UNREAD + connection.shared.limit * 4

    def put(self, message: bytes | None) -> None:
        """Add a message, or None for the end; raises Overloaded if the queue is too large."""
        self._queue.put_nowait(message)
        self._size += len(message or b"")
        if self._size <= _MOST_UNREAD:
            return
        if not self._call.is_blocked:
            self._connection.set_lagging(self._call, lagging=True)
        elif self._size > self._most:
            raise Overloaded(f"{self._size} bytes are queued while the client reads no replies")

    async def read(self) -> AsyncIterator[bytes]:
        """Yield all messages until the end."""
        while (message := await self._queue.get()) is not None:
            self._size -= len(message)
            if self._size <= _MOST_UNREAD:
                self._connection.set_lagging(self._call, lagging=False)
            yield message
