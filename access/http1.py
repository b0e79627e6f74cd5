"""HTTP/1.1 connections of the service and the monitor, based on uvicorn and httptools.

If a request has an `Upgrade` header or the method CONNECT, httptools stops and skips the body.
Uvicorn would then parse the body as the next request (request smuggling). These connections
therefore ignore `Upgrade`, as RFC 9110 (7.8) allows, and refuse CONNECT.
"""

import asyncio
from collections.abc import Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, ClassVar, Self

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from access.connection_table import SLOWEST, ConnectionLimits, ConnectionTable
from access.tls import certificate_name

Header = tuple[bytes, bytes]

MAX_HEAD_BYTES = 16_384  # limit for request line and headers, and for trailers
_SLICE = 16_384  # bytes parsed in one call, so that parsing can stop while requests are queued
_MOST_IGNORED = 65_536  # bytes of a request that are ignored after its reply was sent
_LINGER_S = 2.0  # how long the rest of a refused body is read, so that the client sees the reply
_GOODBYE_S = 1.0  # how long the server waits at shutdown for an idle client to confirm TLS's end
_ALL_TAKEN = "every connection is taken; retry later, or probe the health"
_TOO_LONG = f"the request line and headers are too long; expected at most {MAX_HEAD_BYTES} bytes"


class RefusedHead(Exception):
    """A request that can be parsed but is refused because of its head."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers` are added to the reply."""
        super().__init__(reason)
        self.status = status
        self.headers = headers or {}


class _LastRequestRead(Exception):
    """Another request began, but the connection closes after the previous request's reply."""


class _Flow(FlowControl):
    """Flow control that resumes reading only after all received bytes are parsed."""

    has_unparsed = False

    def resume_reading(self) -> None:
        """Resume reading, unless received bytes are still unparsed."""
        if not self.has_unparsed:
            super().resume_reading()


class _ReplyTransport:
    """The part of a transport that uvicorn's cycle uses; closing lets the client read the reply."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, connection: "Http1Connection") -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.close_after_reply


class Http1Connection(HttpToolsProtocol):
    """Uvicorn's connection, restricted to HTTP/1.1.

    - `Upgrade` is ignored for every protocol (h2c, websocket); CONNECT is refused.
    - Trailers are ignored, so they cannot become headers of a request that is being answered.
    - A malformed request is answered with `{"error": ...}` after all earlier requests, and the
      connection reads no later bytes.
    - If a reply closes the connection, later requests on the connection are not read.
    - The rest of a body is ignored once the reply is sent; a large rest closes the connection.
    - A client has a limited time for sending each head and body, and for reading replies.
    """

    table: ClassVar[ConnectionTable] = ConnectionTable(ConnectionLimits())
    probes: ClassVar[frozenset[bytes]] = frozenset()  # paths of health probes
    cycle: Any  # uvicorn's state of the latest request and its reply
    flow: _Flow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.proven = False  # whether a request of this connection was authorized
        self._may_only_probe = False
        self._restricted = False  # restricted to probes, or to the rest of a refused request
        self._since = 0.0  # start of the head, the body or the idle time, by the loop's clock
        self._message_bytes = 0
        self._unsent, self._unsent_since = 0, 0.0
        self._lingering = False
        self._unparsed = b""  # bytes received while earlier requests are queued
        self._running: Any = None  # uvicorn's cycle that is being answered; later cycles queue
        self._in_head = self._in_message = False  # position of the parser
        self._body_left = 0  # bytes of the body not yet received, if its length is stated
        self._unread = 0  # bytes since the start of the head, or since the last body chunk
        self._last_reply: bytes | None = None  # error reply to a malformed request

    @classmethod
    def bounded(cls, limits: ConnectionLimits, probes: Iterable[str] = ()) -> type[Self]:
        """Return a connection class for one port; `probes` are the paths of health probes."""
        members = {
            "table": ConnectionTable(limits),
            "probes": frozenset(path.encode() for path in probes),
        }
        return type(cls.__name__, (cls,), members)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Enter the connection table."""
        super().connection_made(transport)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.app_state = {**self.app_state, "certificate": certificate_name(tls)}
        self.flow = _Flow(transport)
        self._since = self.loop.time()
        self._restricted = self._may_only_probe = not self.table.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the connection table."""
        self.table.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes."""
        self._unset_keepalive_if_required()
        self.parse(data)

    def parse(self, data: bytes) -> None:
        """Parse received bytes, but not far ahead of the replies.

        A parsed request occupies memory until its reply, and 256 KiB can contain 6,000 requests.
        """
        if not self._unparsed and len(data) <= max(_SLICE, self._body_left):
            self._parse(data)
            return
        self._unparsed += data
        self.parse_rest()

    def parse_rest(self) -> None:
        """Parse the unparsed bytes, but stop after a request that must be queued."""
        view, position = memoryview(self._unparsed), 0
        while position < len(view) and not self.pipeline and self.parser is not None:
            # No request begins within a body of known length, so the whole body can be parsed.
            piece = view[position : position + max(_SLICE, self._body_left)]
            position += len(piece)
            self._unparsed = b""  # so that a reply sent during the parse does not parse it again
            self._parse(piece)
        self._unparsed = bytes(view[position:])
        self.flow.has_unparsed = bool(self._unparsed)
        if self.flow.has_unparsed:
            self.flow.pause_reading()
        elif not self.pipeline:
            self.flow.resume_reading()

    def _parse(self, data: bytes | memoryview) -> None:
        """Feed the parser; refuse a malformed request."""
        if self._last_reply is not None or self._lingering or self.transport.is_closing():
            return
        self._unread += len(data)
        self._message_bytes += len(data)
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
            if not self._in_message:
                return
            if self._unread > MAX_HEAD_BYTES:
                self._refuse(RefusedHead(431, _TOO_LONG))
            elif self._message_bytes > _MOST_IGNORED and not self._in_head:
                self._close_if_answered()

    def _close_if_answered(self) -> None:
        """Close the connection if the reply is sent and only its large body is still read."""
        if self.cycle.response_complete and self._last_reply is None:
            self.close_after_reply()

    def _feed(self, data: bytes | memoryview) -> None:
        # The parser stops after a head with `Upgrade` and would skip the body. A new parser
        # therefore reads the same head without `Upgrade`, and then the remaining data.
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
            self.parser = httptools.HttpRequestParser(self)
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
        self._unread = self._message_bytes = self._body_left = 0
        self._since = self.loop.time()
        super().on_message_begin()
        self.scope["driftline.connection"] = self  # type: ignore[typeddict-unknown-key]

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
        if self._may_only_probe and self.url.partition(b"?")[0] not in self.probes:
            raise RefusedHead(503, _ALL_TAKEN, {"retry-after": "1"})
        self.start_request()
        if self._may_only_probe:
            self.cycle.keep_alive = False
        self._in_head = False
        self._unread = 0
        self._body_left = _stated_length(self.headers)
        self._since = self.loop.time()

    def start_request(self) -> None:
        """Create the cycle of the request, and start or queue it."""
        super().on_headers_complete()
        self.cycle.transport = _ReplyTransport(self)

    def on_body(self, body: bytes) -> None:
        """Handle a chunk of the body."""
        self._unread = 0
        self._body_left = max(self._body_left - len(body), 0)
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

    # Replies, which are sent in the order of the requests

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Start the next queued request, or send the error reply after the last one."""
        self._running = None
        self._since = self.loop.time()
        super().on_response_complete()
        if self._unparsed and not self.pipeline:
            self.parse_rest()
        self.send_last_reply()

    def shutdown(self) -> None:
        """Close the connection immediately if it is idle, else after its last reply.

        An idle client rarely reads, so its confirmation of the end of TLS is awaited only briefly.
        """
        super().shutdown()
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.loop.call_later(_GOODBYE_S, self.transport.abort)

    def is_free(self) -> bool:
        """Return whether every request is answered."""
        return self._running is None and not self.pipeline

    def send_last_reply(self) -> None:
        """Send the error reply and close the connection, if all earlier requests are answered."""
        if self._last_reply is not None and self.is_free() and not self.transport.is_closing():
            self.transport.write(self._last_reply)
            self.close_after_reply()

    def close_after_reply(self) -> None:
        """Close the connection so that the client sees the reply.

        Closing a connection that has unread data resets it, and the client may lose the reply.
        The rest of an incomplete request is therefore read for up to two seconds and ignored.
        """
        if self._lingering or self.transport.is_closing():
            return
        if self._in_message and self.transport.can_write_eof():
            self._lingering = self._restricted = True
            self._since = self.loop.time()
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()

    # Methods that the connection table calls

    def waits_since(self) -> float | None:
        """Return when the connection began to wait for its client; None while a request runs."""
        return self._since if self._in_message or self.is_free() else None

    def check_deadline(self, now: float) -> None:
        """Close the connection if its client has taken too long."""
        allowed = self.table.limits.client_timeout_s
        if self._is_unread(now, allowed):
            self.transport.abort()
        elif self._lingering:
            if now - self._since > _LINGER_S:
                self.transport.abort()
        elif self._in_message:
            allowed += self._message_bytes / SLOWEST
            if now - self._since > allowed and not self.flow.read_paused:
                what = "head" if self._in_head else "body"
                self._refuse(RefusedHead(408, f"the request's {what} took over {allowed:.0f} s"))
        elif self.cycle is None and now - self._since > allowed:
            self.transport.close()  # no request has begun

    def _is_unread(self, now: float, allowed: float) -> bool:
        """Return whether the client has read no byte of a reply for the allowed time."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return now - self._unsent_since > allowed

    def drop(self) -> None:
        """Close the connection immediately."""
        self.transport.abort()

    def _refuse(self, refused: RefusedHead) -> None:
        """Send the error reply after all earlier replies, and parse no later bytes."""
        if self.transport.is_closing():
            return
        if refused.status == HTTPStatus.BAD_REQUEST:
            self.logger.warning("Invalid HTTP request received: %s", refused)
        self._last_reply = _reply(refused, self.server_state.default_headers)
        if self._in_message and not self._in_head:
            self._drop_last_request()
        self.send_last_reply()

    def _drop_last_request(self) -> None:
        """Drop the latest request, whose body is incomplete, whether it runs or is queued."""
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
        """Return whether a part of the reply was sent."""
        begun: bool = cycle.response_started
        return begun

    def abandon(self, cycle: Any) -> None:
        """End a request without a reply."""
        cycle.disconnected = True
        cycle.message_event.set()


def mark_proven(scope: MutableMapping[str, Any]) -> None:
    """Mark the connection of a request as proven, because its client was authorized."""
    connection = scope.get("driftline.connection")  # absent in tests without a socket
    if connection is not None:
        connection.proven = True


def _stated_length(headers: Iterable[Header]) -> int:
    """Return the Content-Length that the parser has accepted, or 0 if the body is chunked."""
    length = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return 0
        if name == b"content-length":
            length = int(value)
    return length


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
