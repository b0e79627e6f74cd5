"""One gRPC call on an HTTP/2 connection, from its head to its trailers; of one message or many."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING

import zttp

from access.errors import AccessError
from eventlog.errors import DriftlineError
from service.errors import Expired, InvalidRequest, LimitExceeded, Overloaded
from service.grpc import wire
from service.grpc.calls import Method, Streaming, TrailingMetadata, Unary, public_error
from service.grpc.limits import LONGEST_METADATA
from service.grpc.wire import Header, MessageDecoder

if TYPE_CHECKING:
    from service.grpc.http2 import Http2Connection

_MOST_UNREAD = 1 << 20  # bytes that wait for a method, of one call, before reading stops


class Http2Call:
    """One call; what its method is told of it (see `calls.CallContext`)."""

    __slots__ = (
        "_accepted", "_connection", "_deadline", "_encoding", "_ended", "_head_sent", "_messages",
        "_method", "_room", "_stream", "_streaming", "_timer", "authorization", "leave", "number",
        "traceparent",
    )  # fmt: skip

    def __init__(self, connection: "Http2Connection", stream: zttp.Stream, number: int) -> None:
        """`number` is the stream's."""
        self.number = number
        self.authorization: bytes | None = None
        self.traceparent = ""
        self.leave: Callable[[], None] | None = None
        self._connection = connection
        self._stream = stream
        self._method: Method | None = None
        self._streaming: _RequestStream | None = None
        self._deadline: float | None = None
        self._encoding = b"identity"
        self._accepted = b""
        self._messages: MessageDecoder | None = None
        self._head_sent = self._ended = False
        self._room: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, event: zttp.Request) -> None:
        """Read the head, and find the method."""
        try:
            kind = self._read(event.headers)
            if event.method != b"POST" or not kind.startswith(wire.CONTENT_TYPE):
                self._no_grpc()
                return
            shared = self._connection.shared
            if shared.calls > shared.most_calls:
                raise Overloaded(f"{shared.most_calls} calls at once are all that is taken here")
            self._method = shared.authorizer.authorize(
                event.path.decode("latin-1"), self.authorization
            )
            if self._method is None:
                self._finish([(b"grpc-status", b"12"), (b"grpc-message", b"no such method")])
                return
            wire.check_encoding(self._encoding)
            self._messages = MessageDecoder(shared.limit, self._encoding)
        except DriftlineError as error:
            self._reject(error)
            return
        if isinstance(self._method, Streaming):
            self._streaming = _RequestStream(self, self._connection)
            task = asyncio.create_task(self._stream_replies(self._method, self._streaming))
            self.leave = task.cancel  # type: ignore[assignment]  # its answer is of no interest
            if (left := self.seconds_left()) is not None:
                self._timer = asyncio.get_running_loop().call_later(max(left, 0), self._expire)
        if event.end_stream:
            self.end()

    def take(self, event: zttp.Data | zttp.EndOfMessage | zttp.RstStream) -> None:
        """Go on with what the caller did."""
        if isinstance(event, zttp.Data):
            self.feed(event.data)
        elif isinstance(event, zttp.EndOfMessage):
            self.end()
        else:
            self.left()

    def feed(self, data: bytes) -> None:
        """Bytes of the caller's messages came."""
        if self._ended or self._messages is None:
            return
        try:
            for one in self._messages.feed(data):
                self._message(one)
        except DriftlineError as error:
            self._reject(error)

    def end(self) -> None:
        """The caller has said everything."""
        if self._ended or self._messages is None:
            return
        try:
            self._messages.finish()
            if self._streaming is not None:
                self._streaming.put(None)
            elif self._method is not None:
                raise InvalidRequest("the call has no message; expected one")
        except DriftlineError as error:
            self._reject(error)

    def left(self) -> None:
        """The caller left, or its connection did."""
        if self._ended:
            return
        self._ended = True
        if self.leave is not None:
            self.leave()
        self._over()

    def room(self) -> None:
        """The caller reads on."""
        if self._room is not None:
            self._room.set()

    def seconds_left(self) -> float | None:
        """Until the caller's deadline, None where it has none."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def answer(self, message: bytes, told: TrailingMetadata = ()) -> None:
        """Reply with an encoded message."""
        if not self._ended:
            self._say(message)
            self._finish(wire.trailers(told))

    def refuse(self, error: DriftlineError, told: TrailingMetadata = ()) -> None:
        """Reply with the status of an error of the tree."""
        if not self._ended:
            self._finish(wire.error_trailers(error, told))

    def _read(self, headers: Iterable[Header]) -> bytes:
        """Take in what the head says; its content type."""
        told = dict(headers)
        size = sum(map(len, chain.from_iterable(headers)))
        if size > LONGEST_METADATA:
            raise LimitExceeded(
                f"the metadata has {size} bytes; expected at most {LONGEST_METADATA}"
            )
        self.authorization = told.get(b"authorization")
        self._encoding = told.get(b"grpc-encoding", b"identity")
        if (timeout := told.get(b"grpc-timeout")) is not None:
            self._deadline = time.monotonic() + wire.read_timeout(timeout)
        if (traceparent := told.get(b"traceparent")) is not None:
            self.traceparent = traceparent.decode("latin-1")
        self._accepted = told.get(b"grpc-accept-encoding", b"")
        return told.get(b"content-type", b"")

    def _message(self, one: bytes) -> None:
        method = self._method
        if self._streaming is not None:
            self._streaming.put(one)
        elif isinstance(method, Unary):
            self._method = None  # it has had its message
            method.handle(one, self)
        else:
            raise InvalidRequest("the call has more than one message; expected one")

    def _reject(self, error: DriftlineError) -> None:
        """Refuse, with an event in the log where the method keeps one."""
        method, self._method = self._method, None
        if self._ended:
            return
        if self.leave is not None:
            self.leave()
        if isinstance(method, Unary) and not isinstance(error, AccessError):
            method.reject(error, self)
        else:
            self.refuse(error)

    def _no_grpc(self) -> None:
        self._ended = True
        self._stream.send_response(415, [], end_stream=True)
        self._connection.ended(self)

    async def _stream_replies(self, method: Streaming, requests: "_RequestStream") -> None:
        try:
            async for reply in method.handle(requests.read(), self):
                if self._ended:
                    return
                self._say(reply)
                self._connection.soon()
                await self._drained()
        except Exception as error:  # noqa: BLE001  # its caller must hear something
            self.refuse(public_error(error))
        else:
            if not self._ended:
                self._finish(wire.trailers(()))

    async def _drained(self) -> None:
        """Wait until the caller has taken most of what was said.

        What makes room comes behind what is not read yet, so reading goes on.
        """
        while not self._ended and self._stream.pending_bytes:
            self._room = asyncio.Event()
            self._connection.behind(self, behind=False)
            await self._room.wait()
        self._room = None

    @property
    def has_no_room(self) -> bool:
        """Whether replies wait for the caller to read."""
        return self._room is not None

    def _say(self, message: bytes) -> None:
        packs = len(message) >= wire.WORTH_COMPRESSING and self._packs()
        if not self._head_sent:
            self._head_sent = True
            told = [(b"grpc-encoding", self._encoding)] if packs else []
            self._stream.send_response(200, [*wire.HEAD, *told])
        self._stream.send_data(
            wire.compressed(message, self._encoding) if packs else wire.message(message)
        )

    def _packs(self) -> bool:
        """Whether the caller compresses, and reads what is compressed alike."""
        return self._encoding != b"identity" and self._encoding in self._accepted

    def _finish(self, trailers: list[Header]) -> None:
        self._ended = True
        if self._head_sent:
            self._stream.end_message(trailers)
        else:
            self._stream.send_response(200, [*wire.HEAD, *trailers], end_stream=True)
        self._over()

    def _expire(self) -> None:
        """A stream's deadline passed; a single message's is the pipeline's to heed."""
        self._reject(Expired("the deadline passed while the stream was open"))

    def _over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connection.ended(self)


class _RequestStream:
    """The messages of a stream, between the connection and the method that reads them."""

    def __init__(self, call: Http2Call, connection: "Http2Connection") -> None:
        self._call = call
        self._connection = connection
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._size = 0
        self._most = _MOST_UNREAD + connection.shared.limit * 4

    def put(self, message: bytes | None) -> None:
        """A message, or the end; raises Overloaded where too many wait, and reading cannot."""
        self._queue.put_nowait(message)
        self._size += len(message or b"")
        if self._size <= _MOST_UNREAD:
            return
        if not self._call.has_no_room:
            self._connection.behind(self._call, behind=True)
        elif self._size > self._most:
            raise Overloaded(f"{self._size} bytes of requests wait for their replies to be read")

    async def read(self) -> AsyncIterator[bytes]:
        """Every message until the end."""
        while (message := await self._queue.get()) is not None:
            self._size -= len(message)
            if self._size <= _MOST_UNREAD:
                self._connection.behind(self._call, behind=False)
            yield message
