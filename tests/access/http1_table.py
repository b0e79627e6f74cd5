"""Requests that can desynchronize an HTTP parser, and how h11 parses the same bytes.

Each is followed by a second, marked request on the same connection. Bodies come in two kinds: an
honest one, and one that is itself a request, which no server may ever answer.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11

HONEST = (
    b'{"id": "first", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], '
    b'"data": [1, 2]}, {"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'
)


def _marked(path: str, mark: str, *headers: str) -> bytes:
    body = HONEST.replace(b"first", mark.encode())
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def second(path: str) -> bytes:
    """The request behind each; it asks the server to close, so that replies can be read whole."""
    return _marked(path, "second", "connection: close")


def hidden(path: str) -> bytes:
    """A body that is a request."""
    return _marked(path, "hidden")


H2C = ("Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAEAAEAAAAIAAAAB", "Upgrade: h2c")
WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
EXPECT = ("Expect: 100-continue",)

LENGTH = "content-length: %d"
CHUNKED = "transfer-encoding: chunked"

# name: headers of a body that has a length
WITH_LENGTH: dict[str, tuple[str, ...]] = {
    "h2c": H2C,
    "h2c in upper case": tuple(line.upper() for line in H2C),
    "h2c in lower case": tuple(line.lower() for line in H2C),
    "h2c and keep-alive": ("Connection: keep-alive, Upgrade", "Upgrade: h2c"),
    "h2c by two connection headers": (
        "Connection: keep-alive",
        "Connection: upgrade",
        "Upgrade: h2c",
    ),
    "h2c and close": ("Connection: close, Upgrade", "Upgrade: h2c"),
    "h2c without spaces": ("Connection:Upgrade,HTTP2-Settings", "Upgrade:h2c"),
    "h2c and expect": (*H2C, *EXPECT),
    "websocket": WEBSOCKET,
    "websocket and expect": (*WEBSOCKET, *EXPECT),
    "several protocols": ("Connection: Upgrade", "Upgrade: TLS/1.2, HTTP/2.0, websocket"),
    "two upgrade headers": ("Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket"),
    "an empty upgrade": ("Connection: Upgrade", "Upgrade:"),
    "an unknown protocol": ("Connection: upgrade", "Upgrade: foo/2"),
    "upgrade without connection": ("Upgrade: h2c",),
    "connection without upgrade": ("Connection: Upgrade",),
    "expect": EXPECT,
    "expect in upper case": ("EXPECT: 100-CONTINUE",),
    "expect something else": ("Expect: 200-ok",),
    "obs-fold": ("x-folded: a", " b"),
    "obs-fold in connection": ("Connection: keep-alive,", " Upgrade", "Upgrade: h2c"),
    "keep-alive": ("Connection: keep-alive",),
    "close": ("Connection: close",),
    "a space before the colon": ("x-a : b",),
    "a header without a colon": ("x-a",),
    "an empty header name": (": b",),
    "a NUL": ("x-a: b\0c",),
    "a bare CR": ("x-a: b\rc: d",),
    "a bare LF": ("x-a: b\nx-c: d",),
    "two hosts": ("host: y",),
    "another length": ("content-length: 1",),
    "the length in hexadecimal": ("content-length: 0x5",),
    "a negative length": ("content-length: -1",),
    "a length beyond 64 bits": ("content-length: 18446744073709551621",),
    "chunks too": (CHUNKED,),
    "chunks too, in a strange spelling": ("Transfer-Encoding:\x0bchunked",),
    "chunks too, with a space before the colon": ("Transfer-Encoding : chunked",),
    "chunks too, folded": ("Transfer-Encoding:", " chunked"),
    "identity": ("Transfer-Encoding: identity",),
    "xchunked": ("Transfer-Encoding: xchunked",),
}

# name: headers of a body that comes in chunks; CHUNKED stands before them
IN_CHUNKS: dict[str, tuple[str, ...]] = {
    "chunks": (),
    "chunks and h2c": H2C,
    "chunks and websocket": WEBSOCKET,
    "chunks and expect": EXPECT,
    "chunks twice": (CHUNKED,),
    "chunks and identity": ("transfer-encoding: identity",),
    "chunks and a length": ("content-length: 5",),
    "chunks, obs-fold": ("x-folded: a", " b"),
}

TRAILERS: dict[str, bytes] = {
    "a trailer": b"x-checksum: 1\r\n",
    "a trailer that says close": b"connection: close\r\n",
    "a trailer that offers h2c": b"connection: upgrade\r\nupgrade: h2c\r\n",
    "a trailer with a length": b"content-length: 9\r\n",
    "a trailer with an encoding": b"transfer-encoding: chunked\r\n",
    "a trailer with expect": b"expect: 100-continue\r\n",
    "a trailer with a key": b"authorization: Bearer none\r\n",
    "a folded trailer": b"x-a: b\r\n c\r\n",
    "a trailer without end": b"x-a: b\r\n" * 9_000,
}

CHUNKS: dict[str, bytes] = {  # how a body of %d bytes, here before it, is announced
    "an extension": b"%x;a=b\r\n",
    "a quoted extension": b'%x;a="b;c"\r\n',
    "a size in upper case": b"%X\r\n",
    "a size with zeros": b"0000%x\r\n",
    "a size behind 0x": b"0x%x\r\n",
    "a negative size": b"-%x\r\n",
    "a size beyond 64 bits": b"10000000000000%04x\r\n",
    "a size and a space": b"%x \r\n",
    "a size and LF": b"%x\n",
    "an extension with LF": b"%x;\n\r\n",
}

LINES: dict[str, str] = {  # request lines; %s is the path
    "absolute form": "POST http://x%s HTTP/1.1",
    "absolute form of another host": "POST https://elsewhere:81%s HTTP/1.1",
    "absolute form without a path": "POST http://x HTTP/1.1",
    "authority form": "POST x:80 HTTP/1.1",
    "asterisk form": "OPTIONS * HTTP/1.1",
    "CONNECT": "CONNECT x:80 HTTP/1.1",
    "CONNECT with a path": "CONNECT %s HTTP/1.1",
    "HTTP/1.0": "POST %s HTTP/1.0",
    "HTTP/0.9": "POST %s HTTP/0.9",
    "HTTP/2.0": "POST %s HTTP/2.0",
    "HTTP/1.2": "POST %s HTTP/1.2",
    "no version": "POST %s",
    "GET with a body": "GET %s HTTP/1.1",
    "HEAD with a body": "HEAD %s HTTP/1.1",
    "DELETE with a body": "DELETE %s HTTP/1.1",
    "an unknown method": "FROBNICATE %s HTTP/1.1",
    "a method in lower case": "post %s HTTP/1.1",
    "two spaces": "POST  %s HTTP/1.1",
    "a tab": "POST\t%s HTTP/1.1",
    "another protocol": "POST %s RTSP/1.0",
    "HTTP/2's preface": "PRI * HTTP/2.0",
    "a target beyond ASCII": "POST %s\xff HTTP/1.1",
}

# What is answered here and then closed, or refused, although h11 would read on.
CLOSED = {
    "obs-fold", "obs-fold in connection", "chunks, obs-fold", "a folded trailer",
    "a bare LF", "LF everywhere", "LF at the head's end",
    "chunks and a length", "a chunk: a size and a space",
    "a trailer that says close",
    "a trailer without end", "a trailer with a length", "a trailer with an encoding",
    "absolute form without a path", "authority form",
    "CONNECT", "CONNECT with a path", "h2c: CONNECT",
    "HTTP/2.0", "HTTP/1.2", "HTTP/2's preface",
    "an unknown method", "a method in lower case",
}  # fmt: skip

WITH_UPGRADE = ("GET with a body", "HEAD with a body", "asterisk form", "HTTP/1.0", "CONNECT")


def table(path: str, body: bytes) -> dict[str, bytes]:
    """Every first request, to `path` and with this body, by name."""
    post, size = f"POST {path} HTTP/1.1", LENGTH % len(body)
    chunk = b"%x\r\n" % len(body) + body + b"\r\n"
    rows = {name: _head(post, size, *lines) + body for name, lines in WITH_LENGTH.items()}
    rows |= {
        name: _head(post, CHUNKED, *lines) + chunk + b"0\r\n\r\n"
        for name, lines in IN_CHUNKS.items()
    }
    rows |= {
        name: _head(post, CHUNKED) + chunk + b"0\r\n" + lines + b"\r\n"
        for name, lines in TRAILERS.items()
    }
    rows |= {
        f"a chunk: {name}": _head(post, CHUNKED) + announced % len(body) + body + b"\r\n0\r\n\r\n"
        for name, announced in CHUNKS.items()
    }
    lines = {name: line % path if "%" in line else line for name, line in LINES.items()}
    rows |= {name: _head(line, size) + body for name, line in lines.items()}
    rows |= {f"h2c: {name}": _head(lines[name], size, *H2C) + body for name in WITH_UPGRADE}
    rows |= {
        "h2c: no body": _head(f"GET {path} HTTP/1.1", *H2C),
        "HTTP/1.0 and keep-alive": _head(lines["HTTP/1.0"], size, "Connection: keep-alive") + body,
        "HTTP/1.0 and chunks": _head(lines["HTTP/1.0"], "Connection: keep-alive", CHUNKED)
        + chunk
        + b"0\r\n\r\n",
        "an empty line before": b"\r\n" + _head(post, size) + body,
        "LF everywhere": _head(post, size).replace(b"\r\n", b"\n") + body,
        "LF at the head's end": _head(post, size).replace(b"\r\n\r\n", b"\n\r\n") + body,
        "no host": _head(post, size).replace(b"host: x\r\n", b"") + body,
        "a chunk longer than announced": _head(post, CHUNKED) + b"3\r\n" + body + b"\r\n0\r\n\r\n",
    }
    return rows


def _head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "host: x", *headers, "", ""]).encode("latin-1")


def read_by_h11(data: bytes) -> list[bytes]:
    """The bodies of the requests that h11 reads, each answered with 200, until it reads no more."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    bodies: list[bytes] = []
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return bodies
        match event:
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                bodies.append(body)
                body = b""
                connection.send(h11.Response(status_code=400, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return bodies
                connection.start_next_cycle()
            case h11.Request() | h11.InformationalResponse():
                pass
            case _:
                return bodies


@dataclass(frozen=True)
class Reply:
    """A reply that a client read."""

    status: int
    head: bytes
    body: bytes


def converse(address: tuple[str, int], *pieces: bytes) -> list[Reply]:
    """Send all pieces, then read replies until the server closes."""
    with socket.create_connection(address, timeout=60) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):  # it may close before all is sent
            for piece in pieces:
                line.sendall(piece)
        received = bytearray()
        with suppress(ConnectionResetError):
            while piece := line.recv(65_536):
                received += piece
    return _replies(bytes(received), is_head=pieces[0].startswith(b"HEAD"))


def _replies(data: bytes, *, is_head: bool) -> list[Reply]:
    replies = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if status < 200:
            assert status == 100
            continue
        if is_head and not replies:
            body = b""
        elif b"content-length" in fields:
            size = int(fields[b"content-length"])
            body, data = data[:size], data[size:]
        else:
            chunk, _, data = data.partition(b"0\r\n\r\n")
            body = chunk
        replies.append(Reply(status, head, body))
    return replies


class Echo:
    """An ASGI application that notes the bodies that came, and sends each back."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # uvicorn goes without
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def check(name: str, sent: bytes, replies: list[Reply]) -> None:
    """The first request is answered; then the second as itself, or the connection is closed."""
    by_h11 = len(read_by_h11(sent))
    answered = [reply for reply in replies if b"second" in reply.body]
    assert answered == replies[1:]
    assert len(replies) in {1, 2}
    if by_h11 and name not in CLOSED:
        assert len(replies) == by_h11
    for reply in replies:
        if reply.status == 400 and b"malformed HTTP" in reply.body:
            assert b"connection: close" in reply.head
            assert b"content-type: application/json" in reply.head


def check_bodies(sent: bytes, body: bytes, bodies: list[bytes]) -> None:
    """No server read a body as a request, or another body than h11 did."""
    for ours, h11s in zip(bodies, read_by_h11(sent), strict=False):
        assert ours == h11s
    assert set(bodies) <= {b"", body, HONEST.replace(b"first", b"second")}


def pieces_of(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of so many bytes."""
    return [data[n : n + size] for n in range(0, len(data), size)]
