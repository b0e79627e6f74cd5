"""Kafka's record-batch v2 as a file format: values <-> one CRC-checked frame of bytes.

Everything that decides how bytes lie on disk lives here; no files are opened. A frame's CRC covers
the epoch (as producer id), the base sequence (as producer epoch and base sequence) and all records,
but neither the base offset nor the length: the former must agree with the base sequence, and a
wrong length breaks the CRC.
"""

from collections.abc import Iterator, Sequence

import msgspec
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

HEADER = DefaultRecordBatchBuilder.header_size_in_bytes()
LARGEST_FRAME = 1 << 30
_BEFORE_LENGTH = 8  # bytes of the base offset
_BEFORE_BODY = 12  # base offset and length
_LEADER_EPOCH_AND_MAGIC = b"\x00\x00\x00\x00\x02"  # what every frame holds at _BEFORE_BODY
_LOW_BITS = 31  # of the base sequence go where Kafka keeps 31 bits, the others one field up


class Frame(msgspec.Struct, frozen=True):
    """Values with their sequences base, base + 1, ... as found at bytes [start, end)."""

    start: int
    end: int
    epoch: int
    base: int
    values: list[bytes]


class Damage(msgspec.Struct, frozen=True):
    """Bytes [start, end) that are no frame."""

    start: int
    end: int


def encode(values: Sequence[bytes], *, epoch: int, base: int, milliseconds: int) -> bytes:
    """One frame of the values, numbered from `base`, stamped with one wall-clock time."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=epoch,
        producer_epoch=base >> _LOW_BITS,
        base_sequence=base & ((1 << _LOW_BITS) - 1),
        batch_size=LARGEST_FRAME,
    )
    for offset, value in enumerate(values):
        builder.append(offset, milliseconds, None, value, ())
    frame = builder.build()
    frame[:_BEFORE_LENGTH] = base.to_bytes(_BEFORE_LENGTH, "big")
    return bytes(frame)


def split(data: bytes, *, final: bool) -> Iterator[Frame | Damage]:
    """The frames and the damaged stretches of `data`, in order and without holes between them.

    An incomplete last frame is left alone, since its writer may still be at it, unless `final`
    says that nothing will follow; then it is damage.
    """
    at = 0
    while at < len(data):
        frame = _frame_at(data, at)
        if frame is None:
            following = _next_frame(data, at + 1)
            if following is None and _may_grow(data, at) and not final:
                return
            end = following.start if following else len(data)
            yield Damage(at, end)
            at = end
        else:
            yield frame
            at = frame.end


def _frame_at(data: bytes, at: int) -> Frame | None:
    end = at + _BEFORE_BODY + _length(data, at)
    if end - at < HEADER or end > len(data):
        return None
    batch = DefaultRecordBatch(data[at:end])
    base = batch.base_offset
    if batch.magic != 2 or base != batch.producer_epoch << _LOW_BITS | batch.base_sequence:
        return None
    if not batch.validate_crc():
        return None
    try:
        values = [record.value for record in batch]
    except CorruptRecordError:
        return None
    return Frame(at, end, batch.producer_id, base, values)


def _next_frame(data: bytes, start: int) -> Frame | None:
    mark = data.find(_LEADER_EPOCH_AND_MAGIC, start + _BEFORE_BODY)
    while mark >= 0:
        frame = _frame_at(data, mark - _BEFORE_BODY)
        if frame is not None:
            return frame
        mark = data.find(_LEADER_EPOCH_AND_MAGIC, mark + 1)
    return None


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + _BEFORE_LENGTH : at + _BEFORE_BODY], "big", signed=True)


def _may_grow(data: bytes, at: int) -> bool:
    if len(data) - at < _BEFORE_BODY:
        return True
    length = _length(data, at)
    return 0 < length <= LARGEST_FRAME and at + _BEFORE_BODY + length > len(data)
