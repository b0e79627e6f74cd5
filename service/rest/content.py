"""What the headers say about a body: its type, how it is compressed, how the reply may be. Pure.

A body's size is bounded after decompression as it is before, and memory with it.
"""

import zlib
from typing import Literal

from service.errors import InvalidRequest, TooLarge, Unsupported

Encoding = Literal["gzip", "deflate"]

# From here on JSON replies are compressed for clients that accept it: text of numbers halves for
# 7 us a KiB. Raw tensors are left alone: random floats lose a tenth of their size for 20 us a KiB.
LARGE = 16_384  # bytes

_WINDOWS: dict[bytes, int] = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # zlib's wbits
_REPLY_WINDOWS: dict[Encoding, int] = {"gzip": 31, "deflate": 15}
# Besides JSON itself: raw tensors, and what curl and fetch call a body when nobody told them.
_TYPES = {
    b"",
    b"application/json",
    b"application/octet-stream",
    b"application/x-www-form-urlencoded",
    b"text/decode_body",
}


def decode_body(body: bytes, kind: bytes, encoding: bytes, limit: int) -> bytes:
    """The body that a content-type and a content-encoding header speak of; see the next two."""
    check_type(kind)
    return decompress(body, encoding, limit)


def check_type(stated: bytes) -> None:
    """Raise Unsupported when the content-type header names something that is no JSON."""
    kind = stated.partition(b";")[0].strip().lower()
    if kind not in _TYPES and not kind.endswith(b"+json"):
        raise Unsupported(
            f"content type {_quoted(stated)}; expected application/json, or "
            "application/octet-stream for JSON with raw tensors behind it"
        )


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body as it was before its content-encoding; `limit` is in bytes.

    Raises Unsupported for an encoding that is not read here, InvalidRequest for a damaged body,
    and TooLarge as soon as more than `limit` bytes have come out of it.
    """
    name = encoding.strip().lower()
    if name in {b"", b"identity"}:
        return body
    if name not in _WINDOWS:
        raise Unsupported(f"content encoding {_quoted(encoding)}; expected gzip or deflate")
    stream = zlib.decompressobj(_WINDOWS[name])
    try:
        decode_body = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not {name.decode()}: {error}") from None
    if len(decode_body) > limit:
        raise TooLarge(f"the body has more than {limit} bytes decompressed; expected at most that")
    if not stream.eof:
        raise InvalidRequest(f"the body's {name.decode()} ends too early: {len(body)} bytes")
    if stream.unused_data:
        raise InvalidRequest(
            f"{len(stream.unused_data)} bytes follow the body's {name.decode()}; expected none"
        )
    return decode_body


def preferred_encoding(accept_encoding: bytes) -> Encoding | None:
    """The encoding that a client which sent this header would have its reply in."""
    weights = dict(map(_weight, accept_encoding.lower().split(b",")))
    weights.setdefault(b"gzip", weights.get(b"*", 0.0))
    if weights[b"gzip"] > 0 and weights[b"gzip"] >= weights.get(b"deflate", 0.0):
        return "gzip"
    return "deflate" if weights.get(b"deflate", 0.0) > 0 else None


def compress(body: bytes, encoding: Encoding) -> bytes:
    """The body of a reply in that encoding, at the level that costs least."""
    return zlib.compress(body, 1, _REPLY_WINDOWS[encoding])


def _weight(item: bytes) -> tuple[bytes, float]:
    name, _, parameter = item.partition(b";")
    key, _, value = parameter.partition(b"=")
    try:
        weight = float(value) if key.strip() == b"q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight


def _quoted(stated: bytes) -> str:
    return repr(stated[:64].decode("latin-1"))
