"""The file format: records are read as written, and damage is detected and skipped."""

import struct

from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from eventlog import frames, wire

values = st.lists(st.binary(max_size=60), min_size=1, max_size=5)
bases = st.integers(0, 2**45)


def _frame(*parts: bytes, base: int = 0) -> bytes:
    return frames.encode(parts, epoch=3, base=base, milliseconds=1_700_000_000_000)


@given(values, bases)
def test_a_frame_is_read_as_it_was_written(parts: list[bytes], base: int) -> None:
    data = _frame(*parts, base=base)
    assert list(frames.split(data, final=False)) == [frames.Frame(0, len(data), 3, base, parts)]


@given(st.lists(st.binary(max_size=20_000), min_size=1, max_size=70), bases)
def test_a_frame_equals_the_one_that_kafka_python_writes(parts: list[bytes], base: int) -> None:
    builder = _kafka_builder(base)
    for offset, value in enumerate(parts):
        builder.append(offset, 1_700_000_000_000, None, value, ())
    expected = bytes(builder.build())
    assert _frame(*parts, base=base)[8:] == expected[8:]  # the base offset is the broker's there


@given(st.dictionaries(st.integers(0, 4), st.lists(st.binary(max_size=300), max_size=3)), bases)
def test_raw_parts_are_read_back_and_kafka_python_sees_headers(
    pieces: dict[int, list[bytes]], base: int
) -> None:
    parts = [b"a", b"", b"ccc", b"d" * 200, b"e"]
    views = {index: [memoryview(one) for one in some] for index, some in pieces.items()}
    data = frames.encode(parts, views, epoch=3, base=base, milliseconds=1_700_000_000_000)
    raws = {index: b"".join(some) for index, some in pieces.items() if b"".join(some)}
    assert list(frames.split(data, final=True)) == [
        frames.Frame(0, len(data), 3, base, parts, raws)
    ]
    for index, record in enumerate(DefaultRecordBatch(data)):
        expected = [] if index not in pieces else [(wire.RAW, b"".join(pieces[index]))]
        assert (record.value, list(record.headers)) == (parts[index], expected)


records = st.tuples(
    st.integers(0, 2**62),
    st.none() | st.binary(max_size=9),
    st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=5)), max_size=2),
)


@given(st.lists(records, min_size=1, max_size=4), bases)
def test_values_written_by_kafka_python_are_read(
    parts: list[tuple[int, bytes | None, bytes, list[tuple[str, bytes | None]]]], base: int
) -> None:
    builder = _kafka_builder(base)
    for offset, (milliseconds, key, value, headers) in enumerate(parts):
        builder.append(offset, milliseconds, key, value, headers)
    data = base.to_bytes(8, "big") + bytes(builder.build())[8:]
    values = [value for _, _, value, _ in parts]
    assert list(frames.split(data, final=True)) == [frames.Frame(0, len(data), 3, base, values)]


@given(st.binary(max_size=100), st.integers(-1, 3))
def test_a_valid_checksum_without_records_is_damage(body: bytes, count: int) -> None:
    covered = struct.pack(">hiqqqhii", 0, 0, 0, 0, 3, 0, 0, count) + body
    data = struct.pack(">qiibI", 0, 9 + len(covered), 0, 2, crc32c(covered)) + covered
    (piece,) = frames.split(data, final=True)
    assert piece.end == len(data)
    assert isinstance(piece, frames.Damage) or _written_by_kafka(data) == piece.values


def _written_by_kafka(data: bytes) -> list[bytes]:
    return [record.value for record in DefaultRecordBatch(data)]


def _kafka_builder(base: int) -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=3,
        producer_epoch=base >> 31,
        base_sequence=base & 0x7FFFFFFF,
        batch_size=1 << 30,
    )


@given(st.lists(values, min_size=1, max_size=4), st.data())
def test_a_torn_tail_is_damage_only_when_its_writer_has_ended(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    encoded = [_frame(*parts, base=n) for n, parts in enumerate(batches)]
    torn = b"".join(encoded)[: -data.draw(st.integers(1, len(encoded[-1]) - 1))]
    whole = len(b"".join(encoded[:-1]))
    following = list(frames.split(torn, final=False))
    assert [piece.end for piece in following][-1:] == [whole][: len(following)]
    assert all(isinstance(piece, frames.Frame) for piece in following)
    assert list(frames.split(torn, final=True)) == [*following, frames.Damage(whole, len(torn))]


@given(st.lists(values, min_size=2, max_size=5), st.data())
def test_a_flipped_bit_loses_only_its_own_frame(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    encoded = [_frame(*parts, base=n) for n, parts in enumerate(batches)]
    hit = data.draw(st.integers(0, len(encoded) - 1))
    broken = bytearray(encoded[hit])
    # The partition leader epoch is nobody's: neither covered by the CRC nor read.
    place = data.draw(st.integers(0, len(broken) - 1).filter(lambda at: not 12 <= at < 16))
    broken[place] ^= 1 << data.draw(st.integers(0, 7))
    pieces = list(frames.split(b"".join([*encoded[:hit], broken, *encoded[hit + 1 :]]), final=True))
    bases = [piece.base for piece in pieces if isinstance(piece, frames.Frame)]
    assert bases == [n for n in range(len(encoded)) if n != hit]
    assert sum(isinstance(piece, frames.Damage) for piece in pieces) == 1


@given(st.binary(max_size=300))
def test_garbage_is_damage_and_never_an_exception(data: bytes) -> None:
    pieces = list(frames.split(data, final=True))
    assert sum(piece.end - piece.start for piece in pieces) == len(data)
