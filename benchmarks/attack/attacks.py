"""The attacks: the bytes that each connection sends first, and the bytes that it repeats."""

import gzip
import json

import msgspec

from benchmarks.attack.http2_frames import CHECK, INFER, PREFACE, WATCH, data, frame, head, message

MODEL_PATH = "/v2/models/small/infer"
_SETTINGS_ACK = frame(4, 1, 0)
_START = PREFACE + _SETTINGS_ACK
_STREAMS = range(1, 256, 2)  # the maximum number per connection


class Attack(msgspec.Struct, frozen=True):
    """One kind of attack, by many connections that are reopened when they are closed."""

    name: str
    port: str  # rest or grpc
    connections: int
    first: bytes = b""
    again: bytes = b""  # sent at each tick, while the server accepts data
    reads: bool = True  # whether the attacker reads replies


def attacks(key: str) -> list[Attack]:
    """Return every attack; `key` is the API key of attackers that have one."""
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
        Attack("bodies that were asked for", "rest", 200, _post(MODEL_PATH, bearer + _EXPECT, 999)),
        Attack("replies that are not read", "rest", 16, b"", _GET * 200, reads=False),
        Attack("gzip of a million items", "rest", 4, b"", _zipped(items, bearer)),
        Attack("gzip of 500,000 labels", "rest", 4, b"", _zipped(labels, bearer)),
        Attack("wrong keys", "rest", 8, b"", _small(MODEL_PATH, _WRONG, b"{}") * 20),
        Attack("bodies that are no JSON", "rest", 4, b"", _small(MODEL_PATH, bearer, b"{") * 20),
        Attack("labels of made-up ids", "rest", 4, b"", _small(_FEEDBACK, bearer, _LABELS) * 2),
        Attack("silent connections", "grpc", 400),
        Attack("calls without a message", "grpc", 40, _START + _calls(CHECK)),
        Attack("health watches", "grpc", 40, _START + _calls(WATCH, message(b""))),
        Attack("partial messages, keyed", "grpc", 8, _START + _partial(keyed)),
        Attack("messages in frames of a byte", "grpc", 8, _START + _begun(keyed), _bytes()),
        Attack("pings", "grpc", 8, _START, frame(6, 0, 0, b"12345678") * 500),
        Attack("settings", "grpc", 8, _START, frame(4, 0, 0) * 500),
        Attack("cancelled calls", "grpc", 8, _START + _cancelled(keyed)),
        Attack("metadata that grows by references", "grpc", 8, _START + _referenced()),
        Attack("empty DATA", "grpc", 8, _START + head(1, INFER, more=keyed), data(1, b"") * 500),
        Attack("a window of 0", "grpc", 8, _START + frame(4, 0, 0, _NO_WINDOW) + _answered(keyed)),
        Attack("gzip of 32 MiB", "grpc", 4, _START + _packed(keyed)),
        Attack("CONTINUATION", "grpc", 8, _START + head(1, CHECK, ended=False), _ENDLESS),
    ]


_FEEDBACK = "/v1/feedback"
_LABELS = json.dumps({"prediction_id": "p", "labels": [1] * 20}).encode()
_WRONG = f"authorization: Bearer dl_{'0' * 12}_{'0' * 64}\r\n"
_EXPECT = "expect: 100-continue\r\n"
_NO_WINDOW = b"\0\4\0\0\0\0"  # SETTINGS_INITIAL_WINDOW_SIZE
_GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
_ENDLESS = frame(9, 0, 1, b"") * 500


def _post(path: str, headers: str, length: int) -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n{headers}\r\n"
    return lines.encode()


def _small(path: str, headers: str, body: bytes) -> bytes:
    return _post(path, headers, len(body)) + body


def _zipped(body: bytes, bearer: str) -> bytes:
    packed = gzip.compress(body)
    return _post(_FEEDBACK, f"{bearer}content-encoding: gzip\r\n", len(packed)) + packed


def _calls(path: bytes, sent: bytes = b"") -> bytes:
    return b"".join(
        head(stream, path) + (data(stream, sent) if sent else b"") for stream in _STREAMS
    )


def _partial(headers: dict[bytes, bytes]) -> bytes:
    piece = message(bytes(2 << 20))[:16_000]
    calls = [head(stream, INFER, more=headers) for stream in _STREAMS]
    # Four streams fit into the connection's window.
    return b"".join(calls) + b"".join(data(stream, piece) for stream in list(_STREAMS)[:4])


def _begun(headers: dict[bytes, bytes]) -> bytes:
    return head(1, INFER, more=headers) + data(1, message(bytes(15 << 20))[:16_000])


def _bytes() -> bytes:
    return data(1, b"x") * 400


def _referenced() -> bytes:
    """Return 48 MB of metadata: one long value of the header table, repeated."""
    value = b"v" * 4_000
    long = b"\x40\x01a\x7f" + bytes([(4_000 - 127) % 128 + 128, (4_000 - 127) // 128]) + value
    return frame(1, 4, 1, b"\x83\x86" + long + b"\xbe" * 12_000)


def _answered(headers: dict[bytes, bytes]) -> bytes:
    """Return calls whose replies do not fit into the client's window."""
    calls = (
        head(stream, INFER, more=headers) + data(stream, message(b""), end=True)
        for stream in _STREAMS
    )
    return b"".join(calls)


def _packed(headers: dict[bytes, bytes]) -> bytes:
    """Return a message that exceeds the limit when it is decompressed."""
    small = gzip.compress(bytes(32 << 20))
    sent = b"\1" + len(small).to_bytes(4) + small
    pieces = [sent[place : place + 16_000] for place in range(0, len(sent), 16_000)]
    more = headers | {b"grpc-encoding": b"gzip"}
    # Only one message, because the connection's window is 64 KiB until the server enlarges it.
    return head(1, INFER, more=more) + b"".join(data(1, piece) for piece in pieces)


def _cancelled(headers: dict[bytes, bytes]) -> bytes:
    reset = [frame(3, 0, stream, b"\0\0\0\x08") for stream in _STREAMS]
    opened = [head(stream, INFER, more=headers) for stream in _STREAMS]
    return b"".join(piece for pair in zip(opened, reset, strict=True) for piece in pair)
