"""Answer inference on the HTTP/1.1 connection; pass all else to uvicorn and ASGI.

ASGI costs a task, a scope dictionary and two writes per request: more than a small model's run.
Here the body goes straight into the pipeline. The reply is one write, in the event-loop iteration
that ran the batch.

Clients repeat their request head byte for byte, so each head is parsed once. A complete request
with a cached head bypasses the HTTP parser.
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
_MAX_CACHED_HEAD = 2_048  # bytes
_MAX_CACHED_HEADS = 512
# A head with one of these is not cached: it differs each time, or does not state a length.
_UNCACHEABLE = {b"traceparent", ROUTING_KEY, b"transfer-encoding", b"expect"}


class Connection(Http1Connection):
    """One connection of uvicorn's server; a subclass provides the dependencies.

    An Exchange takes the place of uvicorn's request-response cycle. Pipelined requests of both
    kinds therefore share uvicorn's queue and keep their order.
    """

    _cached_heads: ClassVar[dict[bytes, Head]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inference_dependencies = self.dependencies()
        # BentoML states uvicorn's default of 5 s.
        self.timeout_keep_alive = self._inference_dependencies.keep_alive_s
        self._raw = b""  # the head to be parsed next, if it starts a message
        self._stalled = False  # the client does not read its replies

    def dependencies(self) -> InferenceDependencies:
        """Return the worker's objects that inference needs."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Answer a complete request with a cached head; parse anything else."""
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

    # What the parser calls

    def start_request(self) -> None:
        """Create an exchange for inference, uvicorn's cycle for anything else."""
        raw, self._raw = self._raw, b""
        head = self._inference()
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

    def _inference(self) -> Head | None:
        """Return the head just parsed if it is an inference request, else None."""
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
        """Give a piece of the body to the last request."""
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

    # What exchanges, uvicorn and the transport call

    def write(self, data: bytes) -> None:
        """Send bytes that are not the reply, such as 100 Continue."""
        self.transport.write(data)

    def reply(self, exchange: Exchange, message: list[bytes]) -> None:
        """Send a reply, status line first; the next request may begin."""
        if default := self.server_state.default_headers:
            message.insert(1, _encode_headers(tuple(default)))
        if not exchange.keep_alive:
            message.insert(1, b"connection: close\r\n")
        self.transport.write(b"".join(message))
        if not exchange.keep_alive:
            self.close_after_reply()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Start the next request, once the client has read most of its replies."""
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
            self.loop.call_soon(self.parse_rest)  # not here: replies would nest in each other

    def _start_idle_timer(self) -> None:
        # One timer per connection: setting and cancelling one per request costs more than a metric.
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
        """Keep the timer: uvicorn's is per request, this one per connection."""

    def resume_writing(self) -> None:
        """Continue once the client reads again."""
        super().resume_writing()
        if self._stalled and self._running is None:
            self.on_response_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Exchange):
            self._running = cycle
            self.loop.call_soon(cycle.begin)  # not here: replies would nest in each other
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


@lru_cache(maxsize=4)  # the date changes once a second
def _encode_headers(headers: tuple[Header, ...]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _is_cacheable(raw: bytes, head: Head, headers: list[Header]) -> bool:
    """Return whether `raw` is a complete head that states its body's length and can recur."""
    return (
        raw.startswith(b"POST ")
        and b"\n\n" not in raw
        and len(raw) <= _MAX_CACHED_HEAD
        and head.length is not None
        and _UNCACHEABLE.isdisjoint(name for name, _ in headers)
    )
