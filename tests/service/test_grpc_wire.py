"""gRPC over HTTP/2: messages are decoded however their bytes are split."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest, LimitExceeded, RunFailed, UnknownEncoding
from service.grpc import wire
from service.grpc.wire import MessageDecoder


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 20))
def test_messages_do_not_depend_on_how_their_bytes_are_split(parts: list[bytes], size: int) -> None:
    data = b"".join(map(wire.message, parts))
    messages = MessageDecoder(limit=50)
    found = [one for n in range(0, len(data), size) for one in messages.feed(data[n : n + size])]
    assert found == parts
    messages.finish()


@given(st.binary(max_size=3_000), st.sampled_from([b"gzip", b"deflate"]))
def test_compressed_messages_are_decompressed(data: bytes, encoding: bytes) -> None:
    assert MessageDecoder(3_000, encoding).feed(wire.compressed(data, encoding)) == [data]


def test_a_message_over_the_limit_is_refused_at_its_prefix() -> None:
    with pytest.raises(LimitExceeded, match="1000 bytes; expected at most 999"):
        MessageDecoder(999).feed(wire.message(b"x" * 1000)[:5])


def test_a_decompression_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50 << 20), mtime=0)
    with pytest.raises(LimitExceeded, match="decompresses to more than 100000 bytes"):
        MessageDecoder(100_000, b"gzip").feed(b"\1" + len(bomb).to_bytes(4) + bomb)


@pytest.mark.parametrize(
    ("encoding", "packed", "error", "words"),
    [
        (b"gzip", b"no gzip", InvalidRequest, "is damaged"),
        (b"gzip", gzip.compress(b"x" * 500, mtime=0)[:-8], InvalidRequest, "is truncated"),
        (b"deflate", zlib.compress(b"x")[:3], InvalidRequest, "is truncated"),
        (b"identity", b"x", UnknownEncoding, "'identity'"),
    ],
)
def test_a_message_that_cannot_be_decompressed_states_why(
    encoding: bytes, packed: bytes, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        MessageDecoder(1_000, encoding).feed(b"\1" + len(packed).to_bytes(4) + packed)


def test_a_call_that_ends_in_the_middle_of_a_message_is_refused() -> None:
    messages = MessageDecoder(10)
    assert messages.feed(b"\0\0\0") == []
    with pytest.raises(InvalidRequest, match="is incomplete"):
        messages.finish()


def test_an_unknown_compression_is_refused_with_the_supported_names() -> None:
    with pytest.raises(UnknownEncoding, match="'br'; expected one of identity, gzip, deflate"):
        wire.check_encoding(b"br")


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [(b"5S", 5), (b"99999999u", 99.999999), (b"2H", 7200), (b"10m", 0.01), (b"0n", 0), (b"1M", 60)],
)
def test_timeouts_are_read(stated: bytes, seconds: float) -> None:
    assert wire.read_timeout(stated) == pytest.approx(seconds)


@pytest.mark.parametrize("stated", [b"", b"S", b"5", b"-1S", b"1s", b"123456789S", b"1.5S", b" 1S"])
def test_invalid_timeouts_are_refused(stated: bytes) -> None:
    with pytest.raises(InvalidRequest, match="grpc-timeout"):
        wire.read_timeout(stated)


def test_a_refusal_is_a_status_with_a_message_that_fits_a_header() -> None:
    reported = dict(wire.error_trailers(RunFailed("50 % of it\nfailed: é"), [("a", "b")]))
    assert reported == {
        b"grpc-status": b"13",
        b"grpc-message": b"50 %25 of it%0Afailed: %C3%A9",
        b"a": b"b",
    }


def test_a_message_in_single_bytes_is_copied_a_bounded_number_of_times() -> None:
    held: list[int] = []

    class Counted(bytearray):
        def __iadd__(self, data: bytes) -> "Counted":  # type: ignore[override, misc]
            held.append(len(data))
            return super().__iadd__(data)  # type: ignore[return-value]

    messages = MessageDecoder(100_000)
    messages._buffer = Counted()  # noqa: SLF001
    data = wire.message(bytes(50_000))
    found = [one for n in range(len(data)) for one in messages.feed(data[n : n + 1])]
    assert [len(one) for one in found] == [50_000]
    assert sum(held) == len(data)


def test_a_large_message_between_small_ones_is_assembled_from_its_frames() -> None:
    parts = [b"first", bytes(range(256)) * 2_400, b"last"]
    data = b"".join(map(wire.message, parts))
    messages = MessageDecoder(1 << 20)
    frames = [data[n : n + 16_384] for n in range(0, len(data), 16_384)]
    found = [one for frame in frames for one in messages.feed(frame)]
    assert found == parts
    assert [type(one) for one in found] == [bytes] * 3
    messages.finish()
