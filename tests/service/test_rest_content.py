"""Media types and encodings of bodies, and the memory for a compressed body."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest, TooLarge, Unsupported
from service.rest.content import Encoding, check_type, compress, decompress, preferred_encoding

BODY = b'{"inputs": []}' * 100
GZIPPED = gzip.compress(BODY, mtime=0)  # the same in every process of a parallel run
LIMIT = 100_000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", GZIPPED),
        (b"x-gzip", GZIPPED),
        (b" GZIP ", GZIPPED),
        (b"deflate", zlib.compress(BODY)),
        (b"identity", BODY),
        (b"", BODY),
    ],
)
def test_compressed_bodies_are_read(encoding: bytes, body: bytes) -> None:
    assert decompress(body, encoding, LIMIT) == BODY


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate"]))
def test_compressed_replies_can_be_read_back(body: bytes, encoding: Encoding) -> None:
    assert decompress(compress(body, encoding), encoding.encode(), 2000) == body


def test_the_body_limit_is_exact_to_the_byte() -> None:
    body = gzip.compress(b"x" * LIMIT, mtime=0)
    assert len(decompress(body, b"gzip", LIMIT)) == LIMIT
    with pytest.raises(TooLarge, match=str(LIMIT - 1)):
        decompress(body, b"gzip", LIMIT - 1)


def test_a_decompression_bomb_uses_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(200_000_000), 9, mtime=0)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        decompress(bomb, b"gzip", LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 10 * LIMIT + 2 * len(bomb)
    tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no gzip",
        GZIPPED[:-1],
        GZIPPED + b"more",
        zlib.compress(BODY),
    ],
)
def test_a_damaged_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="gzip"):
        decompress(body, b"gzip", LIMIT)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_accepted_or_refused(body: bytes) -> None:
    for encoding in (b"gzip", b"deflate"):
        with pytest.raises((InvalidRequest, TooLarge)):
            decompress(body + b"!", encoding, 10)


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"\xff" * 1000])
def test_an_unsupported_encoding_is_refused_by_name(encoding: bytes) -> None:
    with pytest.raises(Unsupported, match="expected gzip or deflate"):
        decompress(BODY, encoding, LIMIT)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (b"", None),
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"gzip, deflate, br", "gzip"),
        (b"deflate, gzip;q=0.5", "deflate"),
        (b"GZIP;q=0", None),
        (b"*", "gzip"),
        (b"*;q=0, deflate", "deflate"),
        (b"br;q=1.0, identity", None),
        (b"gzip;q=much", None),
        (b";;=,,", None),
    ],
)
def test_a_reply_is_compressed_as_the_client_prefers(header: bytes, chosen: str | None) -> None:
    assert preferred_encoding(header) == chosen


@pytest.mark.parametrize(
    "stated",
    [
        b"",
        b"application/json",
        b"Application/JSON; charset=utf-8",
        b"application/octet-stream",
        b"application/vnd.api+json",
        b"application/x-www-form-urlencoded",
        b"text/plain;charset=UTF-8",
    ],
)
def test_json_media_types_are_accepted(stated: bytes) -> None:
    check_type(stated)


@pytest.mark.parametrize(
    "stated", [b"text/xml", b"multipart/form-data; boundary=x", b"application/x-protobuf", b"json"]
)
def test_other_types_are_refused_by_name(stated: bytes) -> None:
    with pytest.raises(Unsupported, match="expected application/json"):
        check_type(stated)
