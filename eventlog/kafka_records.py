"""Read the records of fetched batches without decoding unneeded parts."""

from collections.abc import Iterator
from typing import Any

import msgspec
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from eventlog.batch_records import BatchRecords, read_records

_NO_RECORDS = BatchRecords([], [], {})


class FetchedRecord(msgspec.Struct, frozen=True, gc=False):
    """The parts of a topic's record that a reader uses."""

    offset: int
    value: bytes
    raw: bytes = b""  # raw part, see wire.py


class DamagedBatch(CorruptRecordError):  # type: ignore[misc] # the library ships no types
    """A batch of a partition does not match its checksum, or its records cannot be separated."""

    def __init__(self, place: Any, offset: int) -> None:
        super().__init__(f"{place.topic}/{place.partition}: the batch at {offset} is damaged")
        self.place = place
        self.offset = offset


class FetchedRecords(Fetcher.PartitionRecords):  # type: ignore[misc] # the library ships no types
    """The records of one fetched partition; `read_lean` replaces the client's class with it.

    The client's class decodes every header and creates a record with thirteen fields.
    """

    def _unpack_records(
        self, tp: Any, records: Any, _key_deserializer: Any, _value_deserializer: Any
    ) -> Iterator[FetchedRecord]:
        """Yield the records of all batches; raises DamagedBatch."""
        while (batch := records.next_batch()) is not None:
            lean = _read(batch)
            if lean is None:
                raise DamagedBatch(tp, batch.base_offset)
            self.leader_epoch = batch.leader_epoch
            self.bytes_read += batch.size_in_bytes
            base, raws = batch.base_offset, lean.raws
            for index, (offset, value) in enumerate(zip(lean.offsets, lean.values, strict=True)):
                self.next_fetch_offset = base + offset + 1
                yield FetchedRecord(base + offset, value, raws.get(index, b"") if raws else b"")
            # Compaction may have removed the last records of the batch.
            self.next_fetch_offset = batch.next_offset
        self.drain()


def _read(batch: Any) -> BatchRecords | None:
    """Return the records of a batch, or None if the batch is damaged."""
    if batch.magic != 2 or not batch.validate_crc():
        return None
    if batch.is_control_batch:
        return _NO_RECORDS
    batch._maybe_uncompress()  # noqa: SLF001 - no public method returns the bytes
    data = bytes(memoryview(batch._buffer)[batch._pos :])  # noqa: SLF001
    return read_records(data, batch.records_count)


def read_lean(consumer: Any) -> None:
    """Make a consumer return `FetchedRecord` instead of the client's own records."""
    consumer._fetcher.PartitionRecords = FetchedRecords  # noqa: SLF001 - the client has no hook for it
