"""Interpret the headers of a body: its type, its compression, the reply's compression. Pure.

The size limit holds before and after decompression, and so bounds memory.
"""

import zlib
from typing import Literal

from service.errors import InvalidRequest, TooLarge, Unsupported

Encoding = Literal["gzip", "deflate"]

# JSON replies from this size are compressed if the client accepts it: text of numbers halves at
# 7 us per KiB. Raw tensors are not: random floats lose a tenth of their size at 20 us per KiB.
LARGE = 16_384  # bytes

# JSON of numbers and texts shrinks 3 to 20 times. A body that shrinks more is mostly repetition.
_MOST_RATIO = 200
_ANY_RATIO = 1 << 20  # bytes that a body may have after decompression, whatever its ratio

_WINDOWS: dict[bytes, int] = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # zlib's wbits
_REPLY_WINDOWS: dict[Encoding, int] = {"gzip": 31, "deflate": 15}
# JSON, raw tensors, and the types that curl and fetch send by default.
_TYPES = {
    b"",
    b"application/json",
    b"application/octet-stream",
    b"application/x-www-form-urlencoded",
    b"text/plain",
}


def decode_body(body: bytes, kind: bytes, encoding: bytes, limit: int) -> bytes:
    """Check the content type and decompress; see `check_type` and `decompress`."""
    check_type(kind)
    return decompress(body, encoding, limit)


def check_type(header: bytes) -> None:
    """Raise Unsupported if the content-type header names anything but JSON."""
    kind = header.partition(b";")[0].strip().lower()
    if kind not in _TYPES and not kind.endswith(b"+json"):
        raise Unsupported(
            f"content type {_quoted(header)}; expected application/json, or "
            "application/octet-stream for JSON followed by raw tensors"
        )


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Decompress a body by its content-encoding header; `limit` is in bytes.

    Raises Unsupported for an unknown encoding, InvalidRequest for a damaged body, and TooLarge as
    soon as the output exceeds `limit`, or is out of all proportion to the body.
    """
    name = encoding.strip().lower()
    if name in {b"", b"identity"}:
        return body
    if name not in _WINDOWS:
        raise Unsupported(f"content encoding {_quoted(encoding)}; expected gzip or deflate")
    limit = min(limit, max(_ANY_RATIO, _MOST_RATIO * len(body)))
    stream = zlib.decompressobj(_WINDOWS[name])
    try:
        output = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not {name.decode()}: {error}") from None
    if len(output) > limit:
        raise TooLarge(
            f"the decompressed body has more than {limit} bytes; expected at most {limit}"
        )
    if not stream.eof:
        raise InvalidRequest(
            f"the body's {name.decode()} is truncated at {len(body)} bytes; expected all of it"
        )
    if stream.unused_data:
        raise InvalidRequest(
            f"{len(stream.unused_data)} bytes follow the body's {name.decode()}; expected none"
        )
    return output


def preferred_encoding(accept_encoding: bytes) -> Encoding | None:
    """Return the reply encoding that an accept-encoding header prefers, or None."""
    weights = dict(map(_weight, accept_encoding.lower().split(b",")))
    weights.setdefault(b"gzip", weights.get(b"*", 0.0))
    if weights[b"gzip"] > 0 and weights[b"gzip"] >= weights.get(b"deflate", 0.0):
        return "gzip"
    return "deflate" if weights.get(b"deflate", 0.0) > 0 else None


def compress(body: bytes, encoding: Encoding) -> bytes:
    """Compress the body of a reply at the cheapest level."""
    return zlib.compress(body, 1, _REPLY_WINDOWS[encoding])


def _weight(item: bytes) -> tuple[bytes, float]:
    name, _, parameter = item.partition(b";")
    key, _, value = parameter.partition(b"=")
    try:
        weight = float(value) if key.strip() == b"q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight


def _quoted(header: bytes) -> str:
    return repr(header[:64].decode("latin-1"))
