"""Answer inference on the HTTP/1.1 connection; pass other requests to uvicorn and ASGI.

ASGI needs a task, a scope dictionary and two writes per request, which take longer than a run of a
small model. Here, the body is passed directly to the pipeline, and the reply is sent in one write
in the event-loop iteration that ran the batch.

A client usually sends the same request head (request line and headers) each time. Parsed heads are
cached by their bytes, and a complete request with a cached head bypasses the HTTP parser.
"""

from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools

from access.http1 import Http1Connection
from service.protocol.routing_key import ROUTING_KEY
from service.rest.dependencies import InferenceDependencies
from service.rest.exchange import Exchange
from service.rest.head import Head, Header, read_head, target

_HEAD_END = b"\r\n\r\n"
_MAX_CACHED_HEAD = 2_048  # maximum size of a cached head in bytes
_MAX_CACHED_HEADS = 512  # maximum number of cached heads
# Heads with these headers are not cached: they differ in each request or do not state a length.
_UNCACHEABLE = {b"traceparent", ROUTING_KEY, b"transfer-encoding", b"expect"}


class Connection(Http1Connection):
    """A connection of uvicorn's server; a subclass provides the dependencies.

    For inference, an Exchange replaces uvicorn's request-response cycle. Pipelined requests of both
    kinds are in the same queue of uvicorn, so that replies keep the order of the requests.
    """

    _cached_heads: ClassVar[dict[bytes, Head]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inference_dependencies = self.dependencies()
        # BentoML sets uvicorn's default of 5 s.
        self.timeout_keep_alive = self._inference_dependencies.keep_alive_s
        self._raw = b""  # bytes of the head that is parsed next
        self._stalled = False  # whether the client does not read its replies

    def dependencies(self) -> InferenceDependencies:
        """Return the worker's objects that inference needs."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Answer a complete request with a cached head; pass other data to the parser."""
        if not (self._in_message or self._restricted or self._unparsed) and self.is_free():
            end = data.find(_HEAD_END) + len(_HEAD_END)
            head = self._cached_heads.get(data[:end])
            if head is not None and head.length == len(data) - end:
                exchange = self._begin(head)
                exchange.feed(data[end:])
                exchange.end()
                return
            self._raw = data[:end]
        self.parse(data)

    def is_free(self) -> bool:
        """Return whether all requests are answered and the client reads the replies."""
        return self._running is None and not self.pipeline and not self._stalled

    def _begin(self, head: Head) -> Exchange:
        self.cycle = self._running = exchange = Exchange(self, self._inference_dependencies, head)
        exchange.begin()
        return exchange

    # Methods for the parser

    def start_request(self) -> None:
        """Create an exchange for inference, or uvicorn's cycle for other requests."""
        raw, self._raw = self._raw, b""
        head = self._inference_head()
        if head is None:
            super().start_request()
            return
        if _is_cacheable(raw, head, self.headers):
            if len(self._cached_heads) >= _MAX_CACHED_HEADS:
                self._cached_heads.clear()
            self._cached_heads[raw] = head
        if self.is_free():
            self._begin(head)
        else:
            self.flow.pause_reading()
            self.cycle = Exchange(self, self._inference_dependencies, head)
            self.pipeline.appendleft((self.cycle, self.app))

    def _inference_head(self) -> Head | None:
        """Return the parsed head if it is of an inference request, otherwise None."""
        if self.parser.get_method() != b"POST":
            return None
        path = httptools.parse_url(self.url).path.decode("ascii")
        names = target(unquote(path) if "%" in path else path)
        if names is None:
            return None
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        foreign = self._inference_dependencies.guard.refusal(b"POST", self.headers)
        return read_head(*names, self.headers, keep_alive=keep_alive, foreign=foreign)

    def pass_body(self, body: bytes) -> None:
        """Pass a piece of the body to the last request."""
        if isinstance(self.cycle, Exchange):
            self.cycle.feed(body)
        else:
            super().pass_body(body)

    def pass_end(self) -> None:
        """Mark the body of the last request as complete."""
        if isinstance(self.cycle, Exchange):
            self.cycle.end()
        else:
            super().pass_end()

    def has_begun_reply(self, cycle: Any) -> bool:
        """Return whether part of the reply is sent; an exchange sends it in one write."""
        return not isinstance(cycle, Exchange) and super().has_begun_reply(cycle)

    def abandon(self, cycle: Any) -> None:
        """End a request without a reply."""
        if isinstance(cycle, Exchange):
            cycle.cancel()
        else:
            super().abandon(cycle)

    # Methods for exchanges, uvicorn and the transport

    def write(self, data: bytes) -> None:
        """Send bytes that are not the reply, such as 100 Continue."""
        self.transport.write(data)

    def reply(self, exchange: Exchange, message: list[bytes]) -> None:
        """Send a reply, whose first item is the status line; then start the next request."""
        if default := self.server_state.default_headers:
            message.insert(1, _encode_headers(tuple(default)))
        if not exchange.keep_alive:
            message.insert(1, b"connection: close\r\n")
        self.transport.write(b"".join(message))
        if not exchange.keep_alive:
            self.close_after_reply()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Start the next request, unless the client does not read its replies."""
        self._running = None
        self.server_state.total_requests += 1
        self._stalled = self.flow.write_paused
        if self._stalled or self._lingering or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_reply is not None:
            self.send_last_reply()
        else:
            self._start_idle_timer()
        if self._unparsed and not self.pipeline:
            self.loop.call_soon(self.parse_rest)  # a direct call would recurse for each request

    def _start_idle_timer(self) -> None:
        # There is one timer per connection, because a timer per request is too expensive.
        self._since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for the keep-alive time."""
        idle = self.loop.time() - self._since
        if idle >= self.timeout_keep_alive and self.is_free() and not self._in_message:
            self.transport.close()
            return
        seconds = max(self.timeout_keep_alive - idle, 0) or self.timeout_keep_alive
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _unset_keepalive_if_required(self) -> None:
        """Keep the timer, which here belongs to the connection, not to a request as in uvicorn."""

    def resume_writing(self) -> None:
        """Continue once the client reads its replies again."""
        super().resume_writing()
        if self._stalled and self._running is None:
            self.on_response_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Exchange):
            self._running = cycle
            self.loop.call_soon(cycle.begin)  # a direct call would recurse for each request
        else:
            super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel every request of the connection."""
        for cycle in {self._running, self.cycle, *(cycle for cycle, _ in self.pipeline)}:
            if isinstance(cycle, Exchange):
                cycle.cancel()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)


@lru_cache(maxsize=4)  # the Date header changes once per second
def _encode_headers(headers: tuple[Header, ...]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _is_cacheable(raw: bytes, head: Head, headers: list[Header]) -> bool:
    """Return whether `raw` is a complete head that states the body's length and can recur."""
    return (
        raw.startswith(b"POST ")
        and b"\n\n" not in raw
        and len(raw) <= _MAX_CACHED_HEAD
        and head.length is not None
        and _UNCACHEABLE.isdisjoint(name for name, _ in headers)
    )
