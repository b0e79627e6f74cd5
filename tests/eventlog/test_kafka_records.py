"""Fetched batches are decoded like kafka-python's, without unused fields."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

from eventlog import wire
from eventlog.batch_records import read_records
from eventlog.kafka_reader import KafkaReader
from eventlog.kafka_records import DamagedBatch, FetchedRecord, FetchedRecords
from eventlog.kafka_settings import KafkaSettings

PLACE = TopicPartition("t", 0)
NONE, LZ4 = 0, 3  # codecs

names = st.sampled_from([wire.RAW, "ce_id", "driftline_raw2"])
headers = st.lists(st.tuples(names, st.none() | st.binary(max_size=80)), max_size=3)
records = st.tuples(
    st.integers(0, 2**62),  # milliseconds
    st.none() | st.binary(max_size=9),
    st.none() | st.binary(max_size=300),
    headers,
)
batches = st.lists(st.lists(records, min_size=1, max_size=70), min_size=1, max_size=3)


def _written(parts: list[list[Any]], codec: int, *, apart: int = 1) -> bytes:
    """Return batches whose offsets differ by `apart`: compaction leaves such gaps."""
    data, base = b"", 0
    for part in parts:
        builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 30)
        for index, (milliseconds, key, value, pairs) in enumerate(part):
            builder.append(index * apart, milliseconds, key, value, pairs)
        data += base.to_bytes(8, "big") + bytes(builder.build())[8:]
        base += len(part) * apart
    return data


def _taken(kind: Any, data: bytes, first: int, most: int) -> tuple[list[Any], list[int]]:
    """Return all records from `first`, and where the next fetch would begin after each `most`."""
    fetched = kind(first, PLACE, MemoryRecords(data))
    taken, positions = [], []
    while fetched:
        taken += fetched.take(most)
        positions.append(fetched.next_fetch_offset)
    return taken, positions


@settings(max_examples=40)
@given(batches, st.sampled_from([NONE, LZ4]), st.integers(0, 30), st.integers(1, 40))
def test_records_equal_the_ones_that_kafka_python_reads(
    parts: list[list[Any]], codec: int, first: int, most: int
) -> None:
    data = _written(parts, codec)
    theirs, expected = _taken(Fetcher.PartitionRecords, data, first, most)
    taken, positions = _taken(FetchedRecords, data, first, most)
    assert taken == [
        FetchedRecord(
            record.offset,
            record.value or b"",
            next((held or b"" for name, held in record.headers if name == wire.RAW), b""),
        )
        for record in theirs
    ]
    assert positions == expected


def test_offsets_have_the_gaps_of_a_compacted_topic() -> None:
    data = _written([[(0, None, b"a", []), (0, None, b"b", [])]] * 2, NONE, apart=3)
    taken, positions = _taken(FetchedRecords, data, 3, 10)
    assert [record.offset for record in taken] == [3, 6, 9]
    assert positions[-1] == 10


@given(st.data())
def test_a_flipped_bit_is_detected_and_earlier_records_are_read(data: st.DataObject) -> None:
    parts = [[(0, b"k", b"value", [("ce_id", b"1")])]] * 2
    written = bytearray(_written(parts, NONE))
    begin = len(written) // 2 + 17  # of the second batch: from its checksum on
    written[data.draw(st.integers(begin, len(written) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    fetched = FetchedRecords(0, PLACE, MemoryRecords(bytes(written)))
    assert fetched.take(5) == [FetchedRecord(0, b"value")]
    with pytest.raises(CorruptRecordError, match="t/0"):
        fetched.take(5)


@given(st.binary(max_size=100), st.integers(-1, 5))
def test_garbage_contains_no_records_and_raises_nothing(data: bytes, count: int) -> None:
    held = read_records(data, count)
    assert held is None or len(held.values) == max(count, 0)


def test_an_endless_varint_is_refused() -> None:
    assert read_records(b"\xff" * 100_000, 1) is None


def test_the_reader_reads_lean_records() -> None:
    reader = KafkaReader(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "g", {}, 0)
    try:
        assert reader._consumer._fetcher.PartitionRecords is FetchedRecords  # noqa: SLF001
    finally:
        reader.close()


def test_a_damaged_batch_is_reported_until_the_partition_is_repositioned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def poll(*_: object, **__: object) -> None:
        raise DamagedBatch(PLACE, 7)

    monkeypatch.setattr(KafkaConsumer, "poll", poll)
    monkeypatch.setattr(KafkaConsumer, "seek", lambda *_: None)
    reader = KafkaReader(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "g", {}, 0)
    try:
        for _ in range(3):
            reader.fetch(5)
        assert reader.damaged == {"t/0": 7}
        (line,) = (one.getMessage() for one in caplog.records if one.name.startswith("eventlog"))
        assert "t/0: the batch at 7 is damaged; no later record is read" in line
        reader._begin(PLACE, 1, 8, "overrun", 1)  # noqa: SLF001
        assert reader.damaged == {}
    finally:
        reader.close()
