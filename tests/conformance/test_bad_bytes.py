"""Malformed REST requests: each gets a status code, a message and an event."""

import gzip
import json
import socket
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import httpx
import psutil
import pytest

from tests.conformance.conftest import MOST_BYTES
from tests.service.conftest import Service

FP32 = "/v2/models/echo-fp32/infer"
INT64 = "/v2/models/echo-int64/infer"
TEXT = "/v2/models/echo-bytes/infer"
GOOD = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}'
_MEBIBYTE = 1 << 20


def _tensor(data: str, shape: str = "[1, 2]", datatype: str = "FP32", more: str = "") -> bytes:
    return (
        f'{{"inputs": [{{"name": "x", "datatype": "{datatype}", "shape": {shape}, "data": {data}'
        f"{more}}}]}}"
    ).encode("utf-8", "surrogateescape")


def _deep(depth: int) -> str:
    return "[" * depth + "]" * depth


# What is sent, the status, and a word of the message.
REFUSED: dict[str, tuple[str, bytes, int, str]] = {
    "1e999": (FP32, _tensor("[1e999, 1]"), 400, "'x'"),
    "-1e999": (FP32, _tensor("[-1e999, 1]"), 400, "'x'"),
    "more than FP32 holds": (FP32, _tensor("[1e39, 1]"), 400, "'x'"),
    "an integer of 5,000 digits": (FP32, _tensor(f"[{'9' * 5000}, 1]"), 400, "'x'"),
    "an integer of 5,000 digits for an integer": (
        INT64,
        _tensor(f"[{'9' * 5000}, 1]", datatype="INT64"),
        400,
        "'x'",
    ),
    "a fraction for an integer": (INT64, _tensor("[1.5, 1]", datatype="INT64"), 400, "'x'"),
    "data nested 101 deep": (FP32, _tensor(_deep(101)), 400, "'x'"),
    "data nested 50,000 deep": (FP32, _tensor(_deep(50_000)), 400, ""),
    "data that never ends nesting": (FP32, b'{"inputs": [{"data": ' + b"[" * 90_000, 400, ""),
    "parameters nested 101 deep": (
        FP32,
        GOOD[:-1] + f', "parameters": {{"a": {_deep(101)}}}}}'.encode(),
        400,
        "parameters",
    ),
    "parameters of a tensor nested 101 deep": (
        FP32,
        _tensor("[1, 2]", more=f', "parameters": {{"a": {_deep(101)}}}'),
        400,
        "parameters",
    ),
    "something unknown nested 50,000 deep": (
        FP32,
        GOOD[:-1] + f', "more": {_deep(50_000)}}}'.encode(),
        400,
        "",
    ),
    "invalid UTF-8 in a name": (FP32, GOOD.replace(b'"x"', b'"\xff"'), 400, ""),
    "invalid UTF-8 in a value": (TEXT, _tensor('["\udcff", "a"]', datatype="BYTES"), 400, ""),
    "half a surrogate in a value": (TEXT, _tensor(r'["\ud800", "a"]', datatype="BYTES"), 400, ""),
    "a dimension that is a fraction": (FP32, _tensor("[1, 2]", "[1.5, 2]"), 400, "shape"),
    "a dimension that is text": (FP32, _tensor("[1, 2]", '["1", 2]'), 400, "shape"),
    "a dimension of 30 digits": (FP32, _tensor("[1, 2]", f"[{10**29}, 2]"), 413, "rows"),
    "a dimension of 5,000 digits": (FP32, _tensor("[1, 2]", f"[{'9' * 5000}, 2]"), 400, ""),
    "a shape of 10,000 dimensions": (FP32, _tensor("[1, 2]", str([1] * 10_000)), 400, "'x'"),
    "a shape that is none": (FP32, _tensor("[1, 2]", "null"), 400, "shape"),
    "data that is an object": (FP32, _tensor("{}"), 400, "'x'"),
    "data that is a number": (FP32, _tensor("3"), 400, "'x'"),
    "something behind the JSON": (FP32, GOOD + b"{}", 400, "JSON"),
    "a byte order mark": (FP32, b"\xef\xbb\xbf" + GOOD, 400, "JSON"),
    "UTF-16": (FP32, GOOD.decode().encode("utf-16"), 400, "JSON"),
    "only spaces": (FP32, b" " * 1000, 400, "JSON"),
    "zeros": (FP32, bytes(1000), 400, "JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_json_is_refused(echoes: Service, case: str) -> None:
    path, body, status, word = REFUSED[case]
    _refused(echoes, path, body, {}, status, word)


def _refused(  # noqa: PLR0917  # a request, and what must come of it
    echoes: Service,
    path: str,
    body: bytes | Iterable[bytes],
    headers: dict[str, str],
    status: int,
    word: str,
) -> None:
    reply = echoes.http.post(path, content=body, headers=headers)
    assert reply.status_code == status, reply.text
    message = reply.json()["error"]
    assert word in message
    assert len(message) < 2_000
    assert "Traceback" not in message
    event: Any = echoes.events()[-1].event
    assert (event.outcome, event.reason) == ("invalid", message)
    assert event.prediction_id == reply.headers["driftline-prediction-id"]
    assert echoes.http.post(FP32, content=GOOD).status_code == 200


def _binary(size: Any, raw: bytes, datatype: str = "FP32") -> tuple[bytes, int]:
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 2]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}).encode()
    return head + raw, len(head)


RAW = struct.pack("<2f", 1, 2)
LENGTHS = ["many", "", "-1", "+8", "1e2", "0x10", "99999", "9" * 5000, "0", "1", "８"]  # noqa: RUF001


@pytest.mark.parametrize("stated", LENGTHS)
def test_a_garbage_length_of_the_json_is_refused(echoes: Service, stated: str) -> None:
    body, _ = _binary(8, RAW)
    headers = {"inference-header-content-length": stated.encode().decode("latin-1")}
    _refused(echoes, FP32, body, _as_latin(headers), 400, "")


def _as_latin(headers: dict[str, str]) -> Any:
    return {name.encode(): value.encode("latin-1") for name, value in headers.items()}


SIZES = [-1, 9, 2**63, 2**200, 8.0, "8", True, None, [8], {"a": 8}]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_garbage_size_of_a_tensor_is_refused(echoes: Service, size: Any) -> None:
    body, length = _binary(size, RAW)
    headers = {"inference-header-content-length": str(length)}
    _refused(echoes, FP32, body, headers, 400, "")


STRINGS = {
    "no prefix": b"ab",
    "a prefix cut short": b"\x01\x00\x00\x00a\x01\x00",
    "a string cut short": b"\x01\x00\x00\x00a\x05\x00\x00\x00b",
    "a prefix of four gigabytes": b"\x01\x00\x00\x00a\xff\xff\xff\xff",
    "one string too few": b"\x08\x00\x00\x00abcdefgh",
    "one string too many": b"\x01\x00\x00\x00a" * 3,
    "invalid UTF-8": b"\x01\x00\x00\x00\xff\x01\x00\x00\x00b",
}


@pytest.mark.parametrize("case", STRINGS)
def test_truncated_strings_are_refused(echoes: Service, case: str) -> None:
    body, length = _binary(len(STRINGS[case]), STRINGS[case], "BYTES")
    headers = {"inference-header-content-length": str(length)}
    _refused(echoes, TEXT, body, headers, 400, "'x'")


BOMB = gzip.compress(bytes(50 * _MEBIBYTE))
ENCODED: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "a gzip bomb": (BOMB, {"content-encoding": "gzip"}, 413, str(MOST_BYTES)),
    "a bomb in a bomb": (gzip.compress(BOMB), {"content-encoding": "gzip"}, 400, "JSON"),
    "a deflate bomb": (
        zlib.compress(bytes(50 * _MEBIBYTE)),
        {"content-encoding": "deflate"},
        413,
        str(MOST_BYTES),
    ),
    "no gzip": (GOOD, {"content-encoding": "gzip"}, 400, "gzip"),
    "gzip cut short": (gzip.compress(GOOD)[:-4], {"content-encoding": "gzip"}, 400, "gzip"),
    "gzip with a wrong checksum": (
        gzip.compress(GOOD)[:-8] + bytes(8),
        {"content-encoding": "gzip"},
        400,
        "gzip",
    ),
    "an encoding nobody reads": (GOOD, {"content-encoding": "br"}, 415, "gzip or deflate"),
    "XML": (b"<inputs/>", {"content-type": "text/xml"}, 415, "application/json"),
    "a form of parts": (GOOD, {"content-type": "multipart/form-data"}, 415, "application/json"),
    "protobuf": (GOOD, {"content-type": "application/x-protobuf"}, 415, "application/json"),
}


@pytest.mark.parametrize("case", ENCODED)
def test_a_body_that_contradicts_its_headers_is_refused(echoes: Service, case: str) -> None:
    body, headers, status, word = ENCODED[case]
    _refused(echoes, FP32, body, headers, status, word)


def test_the_last_of_repeated_keys_is_used(echoes: Service) -> None:
    body = _tensor("[1, 2]", more=', "data": [3, 4]')
    answer = echoes.http.post(FP32, content=body).json()
    assert answer["outputs"][0]["data"] == [3, 4]
    event: Any = echoes.events()[-1].event
    assert event.inputs["x"].data == [3, 4]


def test_a_million_chunks_of_one_byte_are_stopped_at_the_limit(echoes: Service) -> None:
    head = f"POST {FP32} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    reply = _exchange(echoes.port, head, b"1\r\n \r\n" * 1_000_000)
    assert b" 413 " in reply
    assert str(MOST_BYTES).encode() in reply
    event: Any = echoes.events()[-1].event
    assert event.outcome == "invalid"


def test_a_good_body_in_chunks_of_one_byte_is_answered(echoes: Service) -> None:
    reply = echoes.http.post(FP32, content=(bytes([byte]) for byte in GOOD))
    assert reply.json()["outputs"][0]["data"] == [1, 2]


@pytest.mark.parametrize(
    "headers",
    [b"long: " + b"x" * 17_000 + b"\r\n", b"a: b\r\n" * 20_000, b"long: " + b"x" * 5_000_000],
    ids=["one of 17 KiB", "20,000 of them", "one that never ends"],
)
def test_headers_over_16_kib_are_refused_and_the_connection_closed(
    echoes: Service, headers: bytes
) -> None:
    for path in (FP32, "/predict", "/v2"):
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n".encode()
        reply = _exchange(echoes.port, head, headers + b"\r\n")
        assert b" 431 " in reply
        assert b"16384" in reply


def _exchange(port: int, *pieces: bytes) -> bytes:
    """What a server says until it closes the connection or has said all of one reply."""
    reply = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:  # it will not hear more
            pass
        try:
            while b'"}' not in reply and (data := connection.recv(65_536)):
                reply += data
        except OSError:
            pass
    return reply


def test_bad_bytes_cost_no_worker_and_little_memory(echoes: Service) -> None:
    """Runs last in this module: one epoch of one source means that nothing was restarted."""
    assert len({record.epoch for record in echoes.events()}) == 1
    assert echoes.process is not None
    tree = [psutil.Process(echoes.process.pid)]
    tree += tree[0].children(recursive=True)
    assert max(process.memory_info().rss for process in tree) < 600 * _MEBIBYTE
    with httpx.Client(base_url=echoes.url, trust_env=False) as client:
        assert client.get("/v2/health/live").is_success
