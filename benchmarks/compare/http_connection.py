"""Repeat one request over one HTTP/1.1 connection."""

import asyncio
import time
from typing import Protocol, cast

from benchmarks.compare.requests import Question

_LENGTH = b"\r\ncontent-length:"  # the line break excludes inference-header-content-length


class Answered(Protocol):
    """Callback for each response."""

    def __call__(self, sent: float, *, well: bool) -> bool:
        """Count the response to a request sent at `sent`; return whether to send another."""
        ...


class HttpConnection(asyncio.Protocol):
    """A connection that repeats a request, for content-length and chunked responses."""

    def __init__(self, port: int, question: Question, answered: Answered) -> None:
        self._port = port
        self._answered = answered
        self._request = _request(question)
        self._received = bytearray()
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Repeat the request until the load ends; reconnect if the server closes."""
        loop = asyncio.get_running_loop()
        more = True
        while more:
            self._ended = loop.create_future()
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
            await self._ended
            more = self._sent > 0 and self._answered(self._sent, well=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        transport = cast("asyncio.Transport", transport)  # uvloop's class does not derive from it
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Send the next request at the end of a response."""
        self._received += data
        end = _end_of_answer(self._received)
        if end is None:
            return
        well = self._received.startswith(b"HTTP/1.1 200")
        del self._received[:end]
        if self._answered(self._sent, well=well):
            self._ask()
        else:
            self._sent = 0.0
            assert self._transport is not None
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait of `run` for this connection."""
        del exc
        self._received.clear()
        if not self._ended.done():
            self._ended.set_result(None)

    def _ask(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self._request)


def _request(question: Question) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in question.headers.items())
    head = f"POST {question.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}"
    head += f"content-length: {len(question.body)}"
    return f"{head}\r\n\r\n".encode() + question.body


def _end_of_answer(received: bytearray) -> int | None:
    """Return the length of the first response; None if it is incomplete."""
    head = received.find(b"\r\n\r\n") + 4
    if head < 4:
        return None
    fields = bytes(received[:head]).lower()
    at = fields.find(_LENGTH)
    if at >= 0:
        at += len(_LENGTH)
        end = head + int(fields[at : fields.find(b"\r\n", at)])
        return end if len(received) >= end else None
    last = received.find(b"0\r\n\r\n", max(head - 2, len(received) - 5))
    return last + 5 if last >= 0 else None
