"""HTTP/2 frames as bytes, for sequences that no library would send."""

from collections.abc import Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
CHECK = b"/grpc.health.v1.Health/Check"
WATCH = b"/grpc.health.v1.Health/Watch"
INFER = b"/inference.GRPCInferenceService/ModelInfer"

_NO_MORE: Mapping[bytes, bytes] = {}
_DATA, _HEADERS = 0, 1
_END_STREAM, _END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def head(
    stream: int, path: bytes, *, ended: bool = True, more: Mapping[bytes, bytes] = _NO_MORE
) -> bytes:
    """Return the HEADERS frame of a gRPC call, with END_HEADERS if `ended` is true."""
    fields = {b":path": path, b":authority": b"x", b"content-type": b"application/grpc"}
    fields |= {b"te": b"trailers"} | dict(more)
    block = b"\x83\x86" + b"".join(_literal(*pair) for pair in fields.items())
    return frame(_HEADERS, _END_HEADERS if ended else 0, stream, block)


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """Return one DATA frame."""
    return frame(_DATA, _END_STREAM if end else 0, stream, payload)


def message(payload: bytes) -> bytes:
    """Return a gRPC message with its prefix."""
    return b"\0" + len(payload).to_bytes(4) + payload


def replies(received: bytes) -> list[tuple[int, int, bytes]]:
    """Return kind, stream and payload of each complete frame."""
    frames = []
    while len(received) >= 9:
        size = int.from_bytes(received[:3])
        if len(received) < 9 + size:
            break
        frames.append((received[3], int.from_bytes(received[5:9]), received[9 : 9 + size]))
        received = received[9 + size :]
    return frames
