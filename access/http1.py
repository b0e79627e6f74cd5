"""HTTP/1.1 connections of the service and the monitor, based on uvicorn and httptools.

If a request has an `Upgrade` header or the method CONNECT, httptools stops and skips the body.
Uvicorn would then parse the body as the next request (request smuggling). Connections here never
leave HTTP/1.1: RFC 9110 (7.8) allows a server to ignore `Upgrade`.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Header = tuple[bytes, bytes]

MAX_HEAD_BYTES = 16_384  # limit for request line and headers, and for trailers
_TOO_LONG = f"the request line and headers are too long; expected at most {MAX_HEAD_BYTES} bytes"


class RefusedHead(Exception):
    """A request that can be parsed but is refused because of its head."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers` are added to the reply."""
        super().__init__(reason)
        self.status = status
        self.headers = headers or {}


class _LastRequestRead(Exception):
    """Another request began, but the connection closes after the reply to the one before."""


class Http1Connection(HttpToolsProtocol):
    """Uvicorn's connection, restricted to HTTP/1.1.

    - `Upgrade` is ignored for every protocol (h2c, websocket); CONNECT is refused.
    - Trailers are ignored, so they cannot become headers of a request that is being answered.
    - If a request is malformed, earlier requests are answered first. The reply to it is
      `{"error": ...}`, and the connection reads no later bytes.
    - If a reply closes the connection, later requests on the connection are not read.
    """

    cycle: Any  # uvicorn's state of the latest request and its reply

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: Any = None  # the cycle that is being answered; later ones are queued
        self._in_head = self._in_message = False  # position of the parser
        self._unread = 0  # bytes since the start of the head, or since the last body chunk
        self._last_reply: bytes | None = None  # error reply to a malformed request

    def data_received(self, data: bytes) -> None:
        """Read requests."""
        self._unset_keepalive_if_required()
        self.parse(data)

    def parse(self, data: bytes) -> None:
        """Feed the parser; refuse a malformed request."""
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
        # The parser stops after a head with `Upgrade` and would skip the body. A new parser reads
        # the same head without `Upgrade`, then the remaining data.
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
            self.parser = httptools.HttpRequestParser(self)  # the old one may be within a message
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % pair for pair in self.headers if pair[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self.cycle is not None and not self.cycle.keep_alive:
            raise _LastRequestRead
        self._in_head = self._in_message = True
        self._unread = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; ignore a trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start a request, unless its head is parsed again without `Upgrade`."""
        if self.parser.should_upgrade():
            return
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            raise RefusedHead(431, _TOO_LONG)
        self.start_request()
        self._in_head = False
        self._unread = 0

    def start_request(self) -> None:
        """Create the cycle of the request, and start or queue it."""
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Handle a chunk of the body."""
        self._unread = 0
        self.pass_body(body)

    def pass_body(self, body: bytes) -> None:
        """Pass a chunk of the body to the latest request."""
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request, unless its head is parsed again without `Upgrade`."""
        if self.parser.should_upgrade():
            return
        self._in_message = False
        if self.cycle.keep_alive and not self.parser.should_keep_alive():  # set by a trailer
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.transport.close()
        self.pass_end()

    def pass_end(self) -> None:
        """Mark the body of the latest request as complete."""
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    # Replies are sent in the order of the requests

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Start the next queued request, or send the error reply after the last one."""
        self._running = None
        super().on_response_complete()
        self.send_last_reply()

    def is_free(self) -> bool:
        """Return whether every request is answered."""
        return self._running is None and not self.pipeline

    def send_last_reply(self) -> None:
        """Send the error reply and close, if all earlier requests are answered."""
        if self._last_reply is not None and self.is_free() and not self.transport.is_closing():
            self.transport.write(self._last_reply)
            self.transport.close()

    def _refuse(self, refused: RefusedHead) -> None:
        """Store the error reply, send it after earlier replies, and read no more."""
        if self.transport.is_closing():
            return
        if refused.status == HTTPStatus.BAD_REQUEST:
            self.logger.warning("Invalid HTTP request received: %s", refused)
        self._last_reply = _reply(refused, self.server_state.default_headers)
        if self._in_message and not self._in_head:
            self._drop_last_request()
        self.send_last_reply()

    def _drop_last_request(self) -> None:
        """Remove the request with an incomplete body, whether it was started or queued."""
        cycle = self.cycle
        if cycle.response_complete or (cycle is self._running and self.has_begun_reply(cycle)):
            self.transport.close()  # the client could not interpret a second reply
            return
        self.abandon(cycle)
        if cycle is self._running:
            self._running = None
        elif self.pipeline:
            self.pipeline.popleft()

    def has_begun_reply(self, cycle: Any) -> bool:
        """Return whether part of the reply is sent."""
        begun: bool = cycle.response_started
        return begun

    def abandon(self, cycle: Any) -> None:
        """End a request without a reply."""
        cycle.disconnected = True
        cycle.message_event.set()


def _refusal(error: httptools.HttpParserError) -> RefusedHead:
    """Convert a parser error to the refusal that the client receives."""
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
