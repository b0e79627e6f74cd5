"""Interpret the headers that state a body's type and compression. Pure.

To limit memory, the size limit applies before and after decompression.
"""

import zlib
from typing import Literal

from service.errors import InvalidRequest, TooLarge, Unsupported

Encoding = Literal["gzip", "deflate"]

# Minimum size of compressed JSON replies: JSON of numbers shrinks by half at 7 us per KiB. Replies
# with raw tensors are not compressed: random floats shrink by a tenth at 20 us per KiB.
LARGE = 16_384  # bytes

_MOST_RATIO = 200  # maximum compression ratio; JSON of numbers and texts has 3 to 20
_ANY_RATIO = 1 << 20  # decompressed size up to which every ratio is allowed, in bytes
_WINDOWS: dict[bytes, int] = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # zlib's wbits
_REPLY_WINDOWS: dict[Encoding, int] = {"gzip": 31, "deflate": 15}
# The types of JSON and raw tensors, and the types that curl and fetch send by default.
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
    """Raise Unsupported if a content-type header states a type that is not accepted."""
    kind = header.partition(b";")[0].strip().lower()
    if kind not in _TYPES and not kind.endswith(b"+json"):
        raise Unsupported(
            f"content type {_quoted(header)}; expected application/json, or "
            "application/octet-stream for JSON followed by raw tensors"
        )


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Decompress a body by its content-encoding header; `limit` is in bytes.

    Raises Unsupported for an unknown encoding, InvalidRequest for a damaged body, and TooLarge if
    the output exceeds `limit` or the compression ratio is too high.
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
            f"the body's {name.decode()} stream is truncated at {len(body)} bytes; expected a "
            "complete stream"
        )
    if stream.unused_data:
        raise InvalidRequest(
            f"{len(stream.unused_data)} bytes follow the body's {name.decode()} stream; "
            "expected none"
        )
    return output


def preferred_encoding(accept_encoding: bytes) -> Encoding | None:
    """Return the encoding that an accept-encoding header prefers, None if it accepts none."""
    weights = dict(map(_weight, accept_encoding.lower().split(b",")))
    weights.setdefault(b"gzip", weights.get(b"*", 0.0))
    if weights[b"gzip"] > 0 and weights[b"gzip"] >= weights.get(b"deflate", 0.0):
        return "gzip"
    return "deflate" if weights.get(b"deflate", 0.0) > 0 else None


def compress(body: bytes, encoding: Encoding) -> bytes:
    """Compress the body of a reply at the fastest level."""
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
