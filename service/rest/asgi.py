"""Read request bodies and send replies by ASGI, without a framework."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from access.authorization_header import join_headers
from eventlog.errors import DriftlineError
from service.buffered_bytes import BufferedBytes
from service.errors import Overloaded, TooLarge
from service.rest.errors import body_of, headers_of, status_of

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Header = tuple[bytes, bytes]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


_JSON: Header = (b"content-type", b"application/json")


class Disconnected(Exception):
    """The client disconnected before the reply."""


def authorization_of(scope: Scope) -> bytes | None:
    """Return all Authorization headers of a request, joined; None without such a header."""
    return join_headers(value for name, value in scope["headers"] if name == b"authorization")


async def read_body(
    content_length: bytes | None, receive: Receive, limit: int, buffered: BufferedBytes
) -> bytes:
    """Return the body of a request; `content_length` is the value of the header.

    Raises TooLarge as soon as the header or the received data exceeds `limit` bytes, Overloaded if
    the worker buffers too many bytes, and Disconnected if the client disconnects.
    """
    if content_length is not None and int(content_length) > limit:
        raise TooLarge(f"the body has {int(content_length)} bytes; expected at most {limit}")
    chunks: list[bytes] = []
    size = buffered_size = 0
    try:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Disconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the body has more than {limit} bytes; expected at most {limit}")
            if not message.get("more_body", False):
                return b"".join((*chunks, chunk)) if chunks else chunk
            buffered.add(len(chunk))
            buffered_size = size
            chunks.append(chunk)
    finally:
        buffered.release(buffered_size)


async def send_json(
    send: Send,
    body: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
    more: Sequence[Header] = (),
) -> None:
    """Send a complete JSON reply."""
    pairs = [_JSON, *more]
    if headers:
        pairs += [(name.encode(), value.encode()) for name, value in headers.items()]
    await send_body(send, body, pairs, status)


async def send_body(send: Send, body: bytes, headers: list[Header], status: int = 200) -> None:
    """Send a complete reply."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: DriftlineError, more: Sequence[Header] = ()) -> None:
    """Send an error reply; close the connection if the request's body was not read completely."""
    headers = headers_of(error)
    if isinstance(error, TooLarge | Overloaded):
        headers["connection"] = "close"
    await send_json(send, body_of(error), status_of(error), headers, more)
