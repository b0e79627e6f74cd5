"""Read the records of fetched batches, without decoding the parts that are not needed."""

from collections.abc import Iterator
from typing import Any

import msgspec
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from eventlog.batch_records import BatchRecords, read_records

_NO_RECORDS = BatchRecords([], [], {})


class FetchedRecord(msgspec.Struct, frozen=True, gc=False):
    """Hold what a reader uses of one record of a topic."""

    offset: int
    value: bytes
    raw: bytes = b""  # see wire.py


class DamagedBatch(CorruptRecordError):  # type: ignore[misc] # the library ships no types
    """A batch of a partition does not match its checksum, or its records cannot be separated."""

    def __init__(self, place: Any, offset: int) -> None:
        super().__init__(f"{place.topic}/{place.partition}: the batch at {offset} is damaged")
        self.place = place
        self.offset = offset


class FetchedRecords(Fetcher.PartitionRecords):  # type: ignore[misc] # the library ships no types
    """Replace the client's records of one fetched partition; `read_lean` installs it.

    The client's own decodes every header and creates a record with thirteen fields.
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
            # The last records of a batch may be gone by compaction.
            self.next_fetch_offset = batch.next_offset
        self.drain()


def _read(batch: Any) -> BatchRecords | None:
    """Return the records of a batch; None if it is damaged."""
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
