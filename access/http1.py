"""HTTP/1.1 connections of the service and the monitor, on uvicorn's and httptools' parser.

The parser can leave HTTP/1.1: an `Upgrade` header or CONNECT ends its reading, and it skips the
request's body, which uvicorn then reads as the next request. Here a connection stays HTTP/1.1 from
its first byte to its last: RFC 9110 (7.8) lets a server ignore `Upgrade`.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Header = tuple[bytes, bytes]

MAX_HEAD_BYTES = 16_384  # of a request line and headers; also of a request's trailers
_TOO_LONG = f"the request line and headers are too long; expected at most {MAX_HEAD_BYTES} bytes"


class RefusedHead(Exception):
    """A request whose framing is sound, but whose head is refused."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers` go with the reply."""
        super().__init__(reason)
        self.status = status
        self.headers = headers or {}


class _LastRequestRead(Exception):
    """The connection closes after a reply that is due: what follows is not read."""


class Http1Connection(HttpToolsProtocol):
    """Uvicorn's connection, except that no request makes it leave HTTP/1.1.

    - `Upgrade` is ignored, whatever it offers (h2c, websocket); CONNECT is refused.
    - Trailers are ignored: they do not become headers of a request that is being answered.
    - A request that cannot be read is answered after the requests before it, with
      `{"error": ...}`, and nothing behind it on the connection is read.
    - Nothing is read behind a request whose reply closes the connection.
    """

    cycle: Any  # the last request that was read, and its reply

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: Any = None  # the cycle whose turn it is to be answered
        self._in_head = self._in_message = False  # where the parser is
        self._unread = 0  # bytes since the head began, or since the body's last piece
        self._last_reply: bytes | None = None  # to a request that cannot be read

    def data_received(self, data: bytes) -> None:
        """Read requests."""
        self._unset_keepalive_if_required()
        self.parse(data)

    def parse(self, data: bytes) -> None:
        """Feed the parser, and refuse what it cannot read."""
        if self._last_reply is not None or self.transport.is_closing():
            return
        self._unread += len(data)
        try:
            self._feed(data)
        except RefusedHead as refused:
            self._refuse(refused)
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _LastRequestRead):
                self._last_reply = b""
            else:
                self._refuse(_refusal(error))
        else:
            if self._in_message and self._unread > MAX_HEAD_BYTES:
                self._refuse(RefusedHead(431, _TOO_LONG))

    def _feed(self, data: bytes | memoryview) -> None:
        # The parser stops behind a head that offers another protocol, and would skip its body. It
        # reads the same head without the offer instead, then what follows as that head says.
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                data = memoryview(data)[stop.args[0] :]
            else:
                return
            if self.parser.get_method() == b"CONNECT":
                reason = "CONNECT is not supported: this server is not a proxy"
                raise RefusedHead(405, reason, {"allow": "GET, HEAD, POST"})
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)  # the old one may wait for the end
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % pair for pair in self.headers if pair[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self.cycle is not None and not self.cycle.keep_alive:
            raise _LastRequestRead
        self._in_head = self._in_message = True
        self._unread = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, ignore a trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer a request, unless its head is about to be read without its offer."""
        if self.parser.should_upgrade():
            return
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            raise RefusedHead(431, _TOO_LONG)
        self.start_request()
        self._in_head = False
        self._unread = 0

    def start_request(self) -> None:
        """Make the cycle of the request whose head has come, and start or queue it."""
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of a body."""
        self._unread = 0
        self.pass_body(body)

    def pass_body(self, body: bytes) -> None:
        """Give a piece of its body to the last request."""
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request, unless its head is about to be read without its offer."""
        if self.parser.should_upgrade():
            return
        self._in_message = False
        if self.cycle.keep_alive and not self.parser.should_keep_alive():  # says a trailer
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.transport.close()
        self.pass_end()

    def pass_end(self) -> None:
        """Say to the last request that its body is whole."""
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    # Replies, in the order of the requests

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Answer the next request, or refuse what could not be read behind the last one."""
        self._running = None
        super().on_response_complete()
        self.send_last_reply()

    def is_free(self) -> bool:
        """Whether every request that was read is answered."""
        return self._running is None and not self.pipeline

    def send_last_reply(self) -> None:
        """Refuse what cannot be read, once all before it is answered, and close."""
        if self._last_reply is not None and self.is_free() and not self.transport.is_closing():
            self.transport.write(self._last_reply)
            self.transport.close()

    def _refuse(self, refused: RefusedHead) -> None:
        """Reply to a request that cannot be read further, when its turn comes; read no more."""
        if self.transport.is_closing():
            return
        if refused.status == HTTPStatus.BAD_REQUEST:
            self.logger.warning("Invalid HTTP request received: %s", refused)
        self._last_reply = _reply(refused, self.server_state.default_headers)
        if self._in_message and not self._in_head:
            self._drop_last_request()
        self.send_last_reply()

    def _drop_last_request(self) -> None:
        """Take back the request whose body broke off; it was started or queued."""
        cycle = self.cycle
        if cycle.response_complete or (cycle is self._running and self.has_begun_reply(cycle)):
            self.transport.close()  # its own reply is the last that the client can make sense of
            return
        self.abandon(cycle)
        if cycle is self._running:
            self._running = None
        elif self.pipeline:
            self.pipeline.popleft()

    def has_begun_reply(self, cycle: Any) -> bool:
        """Whether a part of the reply has been sent."""
        begun: bool = cycle.response_started
        return begun

    def abandon(self, cycle: Any) -> None:
        """Let a request end without a reply of its own."""
        cycle.disconnected = True
        cycle.message_event.set()


def _refusal(error: httptools.HttpParserError) -> RefusedHead:
    """The reason of a parser's error."""
    if isinstance(error.__context__, RefusedHead):
        return error.__context__
    if isinstance(error, httptools.HttpParserCallbackError):
        return RefusedHead(400, "malformed HTTP request: invalid request target")
    return RefusedHead(400, f"malformed HTTP request: {error}")


def _reply(refused: RefusedHead, default_headers: Iterable[Header]) -> bytes:
    body = msgspec.json.encode({"error": str(refused)})
    lines = [f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}".encode()]
    lines += [b"%b: %b" % pair for pair in default_headers]
    lines += [f"{name}: {value}".encode() for name, value in refused.headers.items()]
    lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    return b"\r\n".join([*lines, b"connection: close", b"", body])
