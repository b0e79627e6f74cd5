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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.rest.exchange import Exchange
from service.rest.head import Head, Header, read_head, target
from service.rest.replies import too_long_a_head
from service.worker import Serving

_HEAD_END = b"\r\n\r\n"
_LONGEST_HEAD = 16_384  # bytes
_LONGEST_KNOWN = 2_048  # bytes of a head that is worth remembering
_MOST_KNOWN = 512
_TELLING = {b"traceparent", b"transfer-encoding", b"expect"}  # not to be remembered


class TooLongAHead(Exception):
    """The request line and headers of a request have too many bytes."""


class Connection(HttpToolsProtocol):
    """What uvicorn makes for every connection that it accepts; a subclass says who serves.

    An Exchange stands where uvicorn has its cycle of request and response, so pipelined requests
    of both kinds wait for each other in uvicorn's queue.
    """

    cycle: Any  # an Exchange, or uvicorn's own
    _known: ClassVar[dict[bytes, Head]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._serving = self.serving()
        self._running: Any = None  # the cycle whose turn it is
        self._in_head = self._in_message = False  # where the parser is
        self._raw = b""  # the head that the parser meets next, where it begins with a message
        self._unread = 0  # bytes that came since the head began, beside those it came with
        self._too_long = False
        self._stalled = False  # the client does not read its replies
        self._rested = 0.0  # when the last reply left, by the loop's clock

    def serving(self) -> Serving:
        """What the worker has started."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Answer a whole request behind a known head; hand anything else to the parser."""
        if not self._in_message and self._is_free():
            end = data.find(_HEAD_END) + len(_HEAD_END)
            head = self._known.get(data[:end])
            if head is not None and head.length == len(data) - end:
                exchange = self._begin(head)
                exchange.feed(data[end:])
                exchange.end()
                return
            self._raw = data[:end]
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        if self._unread > _LONGEST_HEAD and self._in_head:
            self._refuse_head()

    def _is_free(self) -> bool:
        return self._running is None and not self.pipeline and not self._stalled

    def _begin(self, head: Head) -> Exchange:
        self.cycle = self._running = exchange = Exchange(self, self._serving, head)
        exchange.begin()
        return exchange

    # What the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = self._in_message = True
        self._unread = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Make an exchange for inference, a cycle for anything else."""
        self._in_head = False
        raw, self._raw = self._raw, b""
        if sum(len(name) + len(value) for name, value in self.headers) > _LONGEST_HEAD:
            self._too_long = True
            raise TooLongAHead
        head = self._inference()
        if head is None:
            super().on_headers_complete()
            return
        if _is_worth_knowing(raw, head, self.headers):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[raw] = head
        if self._is_free():
            self._begin(head)
        else:
            self.flow.pause_reading()
            self.cycle = Exchange(self, self._serving, head)
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

    def on_body(self, body: bytes) -> None:
        """A piece of a body came."""
        if isinstance(self.cycle, Exchange):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has come whole."""
        self._in_message = False
        if isinstance(self.cycle, Exchange):
            self.cycle.end()
        else:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as HTTP."""
        if self._too_long:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self.transport.write(too_long_a_head(_LONGEST_HEAD))
        self.transport.close()

    # What exchanges, uvicorn and the transport call

    def write(self, data: bytes) -> None:
        """Send something that is not the reply."""
        self.transport.write(data)

    def reply(self, exchange: Exchange, message: list[bytes]) -> None:
        """Send a reply, status line first; the next request may begin."""
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
        if resting >= self.timeout_keep_alive and self._is_free() and not self._in_message:
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
        self._running = cycle
        if isinstance(cycle, Exchange):
            self.loop.call_soon(cycle.begin)  # not here: each reply would nest in the one before
        else:
            super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is left to be answered."""
        for one in {self._running, self.cycle, *(cycle for cycle, _ in self.pipeline)}:
            if isinstance(one, Exchange):
                one.abandon()
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
