"""The attacks: what each connection sends first, and again and again."""

import gzip
import json

import msgspec

from benchmarks.attack.http2_frames import CHECK, INFER, PREFACE, WATCH, data, frame, head, message

MODEL_PATH = "/v2/models/small/infer"
_SETTINGS_ACK = frame(4, 1, 0)
_START = PREFACE + _SETTINGS_ACK
_STREAMS = range(1, 256, 2)  # as many as a connection may have


class Attack(msgspec.Struct, frozen=True):
    """One kind of abuse, by many connections that are opened again when they are closed."""

    name: str
    port: str  # rest or grpc
    connections: int
    first: bytes = b""
    again: bytes = b""  # each tick, while the server takes it
    reads: bool = True


def attacks(key: str) -> list[Attack]:
    """Return every attack; `key` is that of a caller who abuses it."""
    bearer = f"authorization: Bearer {key}\r\n"
    half_body = _post(MODEL_PATH, bearer, 8 << 20) + bytes(1 << 20)
    items = b"[" + b"{}," * 1_000_000 + b"{}]"
    labels = json.dumps({"prediction_id": "p", "labels": [1] * 500_000}).encode()
    keyed = {b"authorization": f"Bearer {key}".encode()}
    return [
        Attack("silent connections", "rest", 400),
        Attack("half heads, a byte a tick", "rest", 400, b"GET /livez HTTP/1.1\r\n", b"x"),
        Attack("half bodies without a key", "rest", 200, _post(MODEL_PATH, "", 16 << 20) + b"1"),
        Attack("half bodies with a key", "rest", 64, half_body),
        Attack("bodies for open routes", "rest", 32, _post("/livez", "", 16 << 20), bytes(65_536)),
        Attack("replies that are not read", "rest", 16, b"", _GET * 200, reads=False),
        Attack("gzip of a million items", "rest", 4, b"", _zipped(items, bearer)),
        Attack("gzip of 500,000 labels", "rest", 4, b"", _zipped(labels, bearer)),
        Attack("silent connections", "grpc", 400),
        Attack("calls without a message", "grpc", 40, _START + _calls(CHECK)),
        Attack("health watches", "grpc", 40, _START + _calls(WATCH, message(b""))),
        Attack("partial messages, keyed", "grpc", 8, _START + _partial(keyed)),
        Attack("messages in frames of a byte", "grpc", 8, _START + _begun(keyed), _bytes()),
        Attack("pings", "grpc", 8, _START, frame(6, 0, 0, b"12345678") * 500),
        Attack("settings", "grpc", 8, _START, frame(4, 0, 0) * 500),
        Attack("cancelled calls", "grpc", 8, _START + _cancelled(keyed)),
        Attack("CONTINUATION", "grpc", 8, _START + head(1, CHECK, ended=False), _ENDLESS),
    ]


_GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
_ENDLESS = frame(9, 0, 1, b"") * 500


def _post(path: str, headers: str, length: int) -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n{headers}\r\n"
    return lines.encode()


def _zipped(body: bytes, bearer: str) -> bytes:
    packed = gzip.compress(body)
    return _post("/v1/feedback", f"{bearer}content-encoding: gzip\r\n", len(packed)) + packed


def _calls(path: bytes, sent: bytes = b"") -> bytes:
    return b"".join(head(one, path) + (data(one, sent) if sent else b"") for one in _STREAMS)


def _partial(headers: dict[bytes, bytes]) -> bytes:
    piece = message(bytes(2 << 20))[:16_000]
    calls = [head(one, INFER, more=headers) for one in _STREAMS]
    # Within the window of a connection.
    return b"".join(calls) + b"".join(data(one, piece) for one in list(_STREAMS)[:4])


def _begun(headers: dict[bytes, bytes]) -> bytes:
    return head(1, INFER, more=headers) + data(1, message(bytes(15 << 20))[:16_000])


def _bytes() -> bytes:
    return data(1, b"x") * 400


def _cancelled(headers: dict[bytes, bytes]) -> bytes:
    reset = [frame(3, 0, one, b"\0\0\0\x08") for one in _STREAMS]
    opened = [head(one, INFER, more=headers) for one in _STREAMS]
    return b"".join(one for pair in zip(opened, reset, strict=True) for one in pair)
