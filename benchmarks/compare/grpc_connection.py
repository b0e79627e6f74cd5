"""Repeat one unary gRPC call over one HTTP/2 connection.

A client library would cost more than the server under test. Here only the stream number of a
request changes, since its headers use no dynamic table. Responses are recognised by their frames: a
message, then the end of the stream. A failed call ends without a message.
"""

import asyncio
import struct
import time
from typing import cast

from benchmarks.compare.http_connection import Answered
from benchmarks.compare.requests import Question

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4  # identifier of SETTINGS_INITIAL_WINDOW_SIZE
_FRAME = 16_384  # largest frame that every server must accept
_LARGEST = 2**31 - 1


class GrpcConnection(asyncio.Protocol):
    """A connection that obeys the server's flow control and grants it an unlimited window."""

    def __init__(self, port: int, question: Question, answered: Answered) -> None:
        self._port = port
        self._answered = answered
        self._headers = _header_block(question.path)
        self._message = struct.pack(">BI", 0, len(question.body)) + question.body
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sent = 0.0
        self._restart()

    def _restart(self) -> None:
        self._received = bytearray()
        self._stream = -1
        self._unsent = memoryview(b"")
        self._room = self._stream_room = self._initial = 65_535
        self._taken = 0  # response bytes since the last window update
        self._message_seen = self._leaving = False

    async def run(self) -> None:
        """Repeat the call until the load ends; reconnect if the server requests it."""
        loop = asyncio.get_running_loop()
        more = True
        while more:
            self._restart()
            self._ended = loop.create_future()
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
            await self._ended
            hung_up = self._sent > 0  # whether the connection was closed during a call
            more = self._answered(self._sent, well=False) if hung_up else self._leaving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the connection preface and the first call."""
        transport = cast("asyncio.Transport", transport)  # uvloop's class does not derive from it
        self._transport = transport
        settings = struct.pack(">HIHI", 1, 0, _INITIAL_WINDOW, _LARGEST)
        transport.write(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW, 0, 0, struct.pack(">I", _LARGEST - 65_535))
        )
        self._call()

    def data_received(self, data: bytes) -> None:
        """Process every complete frame."""
        self._received += data
        position = 0
        while len(self._received) - position >= 9:
            length = int.from_bytes(self._received[position : position + 3], "big")
            end = position + 9 + length
            if len(self._received) < end:
                break
            kind, flags = self._received[position + 3], self._received[position + 4]
            stream = int.from_bytes(self._received[position + 5 : position + 9], "big")
            self._take(kind, flags, stream, bytes(self._received[position + 9 : end]))
            position = end
        del self._received[:position]

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait of `run` for this connection."""
        del exc
        if not self._ended.done():
            self._ended.set_result(None)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._message_seen = True
            self._count(len(payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif kind == _GOAWAY:
            self._leaving = True
        if stream == self._stream and (
            kind == _RESET or (kind in (_DATA, _HEADERS) and flags & _END_STREAM)
        ):
            self._finish(well=self._message_seen and kind != _RESET)

    def _finish(self, *, well: bool) -> None:
        more = self._answered(self._sent, well=well)
        self._sent = 0.0
        if more and not self._leaving:
            self._call()
            return
        self._leaving = more
        assert self._transport is not None
        self._transport.close()

    def _call(self) -> None:
        self._stream += 2
        self._message_seen = False
        self._stream_room = self._initial
        self._unsent = memoryview(self._message)
        self._sent = time.perf_counter()
        self._send(_frame(_HEADERS, _END_HEADERS, self._stream, self._headers))

    def _send(self, first: bytes = b"") -> None:
        """Send the part of the message that the server's windows allow."""
        parts = [first]
        while self._unsent and (size := min(self._room, self._stream_room, _FRAME)) > 0:
            part, self._unsent = self._unsent[:size], self._unsent[size:]
            self._room -= len(part)
            self._stream_room -= len(part)
            parts.append(_frame(_DATA, 0 if self._unsent else _END_STREAM, self._stream, part))
        self._write(b"".join(parts))

    def _widen(self, stream: int, more: int) -> None:
        if stream == 0:
            self._room += more
        elif stream == self._stream:
            self._stream_room += more
        if self._unsent:
            self._send()

    def _settle(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW:
                self._stream_room += value - self._initial
                self._initial = value
        self._write(_frame(_SETTINGS, _ACK, 0, b""))
        if self._unsent:
            self._send()

    def _count(self, size: int) -> None:
        self._taken += size
        if self._taken > 1 << 30:
            self._write(_frame(_WINDOW, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


def _frame(kind: int, flags: int, stream: int, payload: bytes | memoryview) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _header_block(path: str) -> bytes:
    """Encode headers with HPACK's static table and literals without indexing."""
    post, http, named_path, authority, content_type = (
        b"\x83",
        b"\x86",
        b"\x04",
        b"\x01",
        b"\x0f\x10",
    )
    return b"".join(
        (
            post,
            http,
            named_path + _text(path),
            authority + _text("x"),
            content_type + _text("application/grpc"),
            b"\x00" + _text("te") + _text("trailers"),
        )
    )


def _text(value: str) -> bytes:
    assert len(value) < 127
    return bytes((len(value),)) + value.encode()
