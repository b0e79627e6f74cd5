"""gRPC's encoding on HTTP/2: prefixed messages, timeouts, trailers. Pure."""

import struct
import zlib
from urllib.parse import quote

from eventlog.errors import DriftlineError
from service.errors import InvalidRequest, LimitExceeded, UnknownEncoding, message_of
from service.grpc.calls import TrailingMetadata
from service.grpc.errors import code_of

Header = tuple[bytes, bytes]

CONTENT_TYPE = b"application/grpc"
ENCODINGS = (b"identity", b"gzip", b"deflate")
ACCEPTED = (b"grpc-accept-encoding", b",".join(ENCODINGS))
HEAD: list[Header] = [(b"content-type", CONTENT_TYPE), ACCEPTED]
WORTH_COMPRESSING = 1_024  # minimum size of a compressed reply, in bytes
_PREFIX = struct.Struct(">BI")  # prefix of a message: 1 if compressed, and length
_MOST_DIGITS = 8  # maximum number of a timeout's digits
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}  # zlib's codes for the formats
_OK = (b"grpc-status", b"0")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def read_timeout(value: bytes) -> float:
    """Return the seconds of a `grpc-timeout` header; raises InvalidRequest."""
    digits, unit = value[:-1], _SECONDS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise InvalidRequest(f"grpc-timeout is {value[:20]!r}; expected digits and a unit")
    return int(digits) * unit


class MessageDecoder:
    """An incremental decoder of one call's messages."""

    __slots__ = ("_buffer", "_encoding", "_limit", "_needed")

    def __init__(self, limit: int, encoding: bytes = b"identity") -> None:
        """`limit` is the maximum size of a message in bytes, compressed and decompressed."""
        self._limit = limit
        self._encoding = encoding
        self._buffer = bytearray()
        self._needed = _PREFIX.size  # size of the buffer from which more can be decoded

    @property
    def size(self) -> int:
        """The size of the buffered incomplete message, in bytes."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes.

        An oversized message is refused at its prefix, before it is buffered. However small the
        pieces are, each byte is copied a bounded number of times. Raises LimitExceeded,
        InvalidRequest or UnknownEncoding.
        """
        if not self._buffer:
            complete, start = self._split(data)
            self._buffer += data[start:]
            return complete
        self._buffer += data
        if len(self._buffer) < self._needed:
            return []
        with memoryview(self._buffer) as view:
            complete, start = self._split(view)
        del self._buffer[:start]
        return complete

    def _split(self, buffer: bytes | memoryview) -> tuple[list[bytes], int]:
        """Return the complete messages and the offset of the rest; set `_needed`."""
        complete: list[bytes] = []
        start, size = 0, len(buffer)
        while size - start >= _PREFIX.size:
            packed, length = _PREFIX.unpack_from(buffer, start)
            if length > self._limit:
                raise LimitExceeded(f"a message has {length} bytes; expected at most {self._limit}")
            end = start + _PREFIX.size + length
            if end > size:
                self._needed = end - start
                return complete, start
            message = bytes(buffer[start + _PREFIX.size : end])
            complete.append(self._decompress(message) if packed else message)
            start = end
        self._needed = _PREFIX.size
        return complete, start

    def finish(self) -> None:
        """Raise InvalidRequest if the last message is incomplete."""
        if self._buffer:
            raise InvalidRequest(
                f"the last message of the call is incomplete: it has {len(self._buffer)} bytes; "
                f"expected {self._needed}"
            )

    def _decompress(self, message: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            name = self._encoding.decode("latin-1")
            raise UnknownEncoding(f"a message is compressed, but grpc-encoding is {name!r}")
        decompressor = zlib.decompressobj(bits)
        try:
            plain = decompressor.decompress(message, self._limit + 1)
        except zlib.error as error:
            raise InvalidRequest(f"a compressed message is damaged: {error}") from None
        if len(plain) > self._limit:
            raise LimitExceeded(f"a message decompresses to more than {self._limit} bytes")
        if not decompressor.eof:
            raise InvalidRequest("a compressed message is truncated; expected a whole stream")
        return plain


def check_encoding(encoding: bytes) -> None:
    """Raise UnknownEncoding for an unsupported compression."""
    if encoding not in ENCODINGS:
        names = ", ".join(name.decode() for name in ENCODINGS)
        name = encoding[:40].decode("latin-1")
        raise UnknownEncoding(f"grpc-encoding is {name!r}; expected one of {names}")


def message(data: bytes) -> bytes:
    """Return a message with its prefix."""
    return _PREFIX.pack(0, len(data)) + data


def compressed(data: bytes, encoding: bytes) -> bytes:
    """Return a message with its prefix, compressed by gzip or deflate."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS[encoding])
    packed = compressor.compress(data) + compressor.flush()
    return _PREFIX.pack(1, len(packed)) + packed


def trailers(trailing: TrailingMetadata) -> list[Header]:
    """Return the trailers of a successful call."""
    return [_OK, *_encoded(trailing)]


def error_trailers(error: DriftlineError, trailing: TrailingMetadata) -> list[Header]:
    """Return the trailers of a failed call: status, message and `trailing`."""
    status: int = code_of(error).value[0]
    text = quote(message_of(error), safe=_PRINTABLE)
    trailers = [(b"grpc-status", b"%d" % status), (b"grpc-message", text.encode())]
    return [*trailers, *_encoded(trailing)]


def _encoded(trailing: TrailingMetadata) -> list[Header]:
    return [(name.encode(), value.encode()) for name, value in trailing]
