"""One HTTP/1.1 connection: answers inference itself, and leaves all else to uvicorn and ASGI.

A request that ASGI serves costs a task, a dictionary for its scope and two writes: more than a
small model's whole answer. Here a body goes straight into the pipeline, and its reply leaves in one
write from the turn of the event loop that ran the batch.

A client sends the same head again and again, byte for byte, so each head is parsed once: a request
that arrives whole behind a known head never meets the HTTP parser.
"""

from typing import Any, ClassVar
from urllib.parse import unquote

import httptools

from access.http1 import Http1Connection
from service.rest.dependencies import InferenceDependencies
from service.rest.exchange import Exchange
from service.rest.head import Head, Header, read_head, target

_HEAD_END = b"\r\n\r\n"
_LONGEST_KNOWN = 2_048  # bytes of a head that is worth remembering
_MOST_KNOWN = 512
_TELLING = {b"traceparent", b"transfer-encoding", b"expect"}  # not to be remembered


class Connection(Http1Connection):
    """What uvicorn makes for every connection that it accepts; a subclass says who serves.

    An Exchange stands where uvicorn has its cycle of request and response, so pipelined requests
    of both kinds wait for each other in uvicorn's queue.
    """

    _known: ClassVar[dict[bytes, Head]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inference_dependencies = self.dependencies()
        # BentoML states uvicorn's default of 5 s.
        self.timeout_keep_alive = self._inference_dependencies.keep_alive_s
        self._raw = b""  # the head that the parser meets next, where it begins with a message
        self._stalled = False  # the client does not read its replies
        self._rested = 0.0  # when the last reply left, by the loop's clock

    def dependencies(self) -> InferenceDependencies:
        """Return what inference needs, from the worker that was started."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Answer a whole request behind a known head; hand anything else to the parser."""
        if not self._in_message and self.is_free():
            end = data.find(_HEAD_END) + len(_HEAD_END)
            head = self._known.get(data[:end])
            if head is not None and head.length == len(data) - end:
                exchange = self._begin(head)
                exchange.feed(data[end:])
                exchange.end()
                return
            self._raw = data[:end]
        self.parse(data)

    def is_free(self) -> bool:
        """Whether every request that was read is answered, and the client reads the replies."""
        return self._running is None and not self.pipeline and not self._stalled

    def _begin(self, head: Head) -> Exchange:
        self.cycle = self._running = exchange = Exchange(self, self._inference_dependencies, head)
        exchange.begin()
        return exchange

    # What the parser calls

    def start_request(self) -> None:
        """Make an exchange for inference, a cycle for anything else."""
        raw, self._raw = self._raw, b""
        head = self._inference()
        if head is None:
            super().start_request()
            return
        if _is_worth_knowing(raw, head, self.headers):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[raw] = head
        if self.is_free():
            self._begin(head)
        else:
            self.flow.pause_reading()
            self.cycle = Exchange(self, self._inference_dependencies, head)
            self.pipeline.appendleft((self.cycle, self.app))

    def _inference(self) -> Head | None:
        """The head that was parsed, if it is one of an inference request."""
        if self.parser.get_method() != b"POST":
            return None
        path = httptools.parse_url(self.url).path.decode("ascii")
        named = target(unquote(path) if "%" in path else path)
        if named is None:
            return None
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        return read_head(*named, self.headers, keep_alive=keep_alive)

    def pass_body(self, body: bytes) -> None:
        """Give a piece of its body to the last request."""
        if isinstance(self.cycle, Exchange):
            self.cycle.feed(body)
        else:
            super().pass_body(body)

    def pass_end(self) -> None:
        """Say to the last request that its body is whole."""
        if isinstance(self.cycle, Exchange):
            self.cycle.end()
        else:
            super().pass_end()

    def has_begun_reply(self, cycle: Any) -> bool:
        """Whether a part of the reply has been sent; an exchange sends it in one write."""
        return not isinstance(cycle, Exchange) and super().has_begun_reply(cycle)

    def abandon(self, cycle: Any) -> None:
        """Let a request end without a reply of its own."""
        if isinstance(cycle, Exchange):
            cycle.cancel()
        else:
            super().abandon(cycle)

    # What exchanges, uvicorn and the transport call

    def write(self, data: bytes) -> None:
        """Send something that is not the reply."""
        self.transport.write(data)

    def reply(self, exchange: Exchange, message: list[bytes]) -> None:
        """Send a reply, status channel first; the next request may begin."""
        for name, value in self.server_state.default_headers:
            message.insert(1, b"%b: %b\r\n" % (name, value))
        if not exchange.keep_alive:
            message.insert(1, b"connection: close\r\n")
        self.transport.write(b"".join(message))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, once the client has read most of its replies."""
        self._running = None
        self.server_state.total_requests += 1
        self._stalled = self.flow.write_paused
        if self._stalled or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_reply is not None:
            self.send_last_reply()
        else:
            self._rest()

    def _rest(self) -> None:
        # A timer for each request, set and cancelled again, would cost more than a metric does.
        self._rested = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if nothing has come since its last reply for so long."""
        resting = self.loop.time() - self._rested
        if resting >= self.timeout_keep_alive and self.is_free() and not self._in_message:
            self.transport.close()
            return
        left = max(self.timeout_keep_alive - resting, 0) or self.timeout_keep_alive
        self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Uvicorn's timer is for one request; ours goes on for as long as the connection."""

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stalled and self._running is None:
            self.on_response_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Exchange):
            self._running = cycle
            self.loop.call_soon(cycle.begin)  # not here: each reply would nest in the one before
        else:
            super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is left to be answered."""
        for one in {self._running, self.cycle, *(cycle for cycle, _ in self.pipeline)}:
            if isinstance(one, Exchange):
                one.cancel()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)


def _is_worth_knowing(raw: bytes, head: Head, headers: list[Header]) -> bool:
    """Whether `raw` is the whole head, alone says where its body ends, and will come again."""
    return (
        raw.startswith(b"POST ")
        and b"\n\n" not in raw
        and len(raw) <= _LONGEST_KNOWN
        and head.length is not None
        and _TELLING.isdisjoint(name for name, _ in headers)
    )
