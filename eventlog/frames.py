"""Encode and decode frames: Kafka's record batch v2 as the format of segment files.

A frame's CRC covers all records, the epoch (stored as producer id) and the base sequence number
(stored as producer epoch and base sequence). The CRC does not cover base offset and length. But the
base offset must equal the base sequence number, and a wrong length makes the CRC wrong. A record
can have a header with its raw part (wire.py); other headers are ignored. kafka-python can read and
write the same format, but takes twice as long per record and a third of a second to import. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from struct import Struct

import msgspec
from crc32c import crc32c

from eventlog.batch_records import RAW_NAME, read_records

LARGEST_FRAME = 1 << 30
_BEFORE_LENGTH = 8  # bytes of the base offset
_BEFORE_BODY = 12  # bytes of base offset and length
_LEADER_EPOCH_AND_MAGIC = b"\x00\x00\x00\x00\x02"  # bytes of every frame at _BEFORE_BODY
_BEFORE_MAGIC = 16
_MAGIC = b"\x02"
_HEAD = Struct(">qiibI")  # base offset, length, leader epoch, magic, CRC of the following bytes
_BODY = Struct(">hiqqqhii")  # attributes, last offset, times, producer, its epoch, base, count
HEADER = _HEAD.size + _BODY.size
_COMPRESSION = 0b111  # bits of the attributes
_RAW_HEADER = b"\2" + bytes([2 * len(RAW_NAME)]) + RAW_NAME  # number of headers (1), header name
_NOTHING: Mapping[int, Sequence[memoryview]] = {}
_LOW_BITS = 31  # bits of the base sequence number in the field "base sequence"


class Frame(msgspec.Struct, frozen=True):
    """The frame at bytes [start, end); `values[i]` has the sequence number `base + i`."""

    start: int
    end: int
    epoch: int
    base: int
    values: list[bytes]
    raws: dict[int, bytes] = {}  # index of a value -> raw part


class Damage(msgspec.Struct, frozen=True):
    """Bytes [start, end) that are not a valid frame."""

    start: int
    end: int


class FrameExtent(msgspec.Struct, frozen=True):
    """A frame's length in bytes, and the sequence number after the frame."""

    length: int
    following: int


def encode(
    values: Sequence[bytes],
    raws: Mapping[int, Sequence[memoryview]] = _NOTHING,
    *,
    epoch: int,
    base: int,
    milliseconds: int,
) -> bytes:
    """Encode values as one frame, with sequence numbers from `base` and one Unix timestamp in ms.

    `raws` maps the index of a value to the pieces of its raw part.
    """
    records: list[bytes | memoryview] = [
        _BODY.pack(
            0,
            len(values) - 1,
            milliseconds,
            milliseconds,
            epoch,
            base >> _LOW_BITS,
            base & ((1 << _LOW_BITS) - 1),
            len(values),
        )
    ]
    for offset, value in enumerate(values):
        head = b"\0\0%b\1%b" % (_varint(offset), _varint(len(value)))
        if offset not in raws:
            records += (_varint(len(head) + len(value) + 1), head, value, b"\0")
            continue
        size = sum(len(part) for part in raws[offset])
        raw_header = _RAW_HEADER + _varint(size)
        length = len(head) + len(value) + len(raw_header) + size
        records += (_varint(length), head, value, raw_header, *raws[offset])
    body = b"".join(records)
    length = _HEAD.size - _BEFORE_BODY + len(body)
    return _HEAD.pack(base, length, 0, 2, crc32c(body)) + body


@lru_cache(maxsize=1 << 16)  # the same lengths occur often
def _varint(number: int) -> bytes:
    """Encode a non-negative number as a zigzag varint."""
    rest, encoded = number << 1, bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def span(head: bytes) -> FrameExtent | None:
    """Return a frame's extent from its first HEADER bytes, or None if they are no frame header.

    The CRC is not verified, because this needs the whole frame.
    """
    if len(head) < HEADER or head[_BEFORE_BODY : _BEFORE_BODY + 5] != _LEADER_EPOCH_AND_MAGIC:
        return None
    length = _BEFORE_BODY + _length(head, 0)
    base = int.from_bytes(head[:_BEFORE_LENGTH], "big")
    count = int.from_bytes(head[HEADER - 4 : HEADER], "big")
    return FrameExtent(length, base + count) if length >= HEADER else None


def split(data: bytes, *, final: bool) -> Iterator[Frame | Damage]:
    """Split `data` into contiguous frames and damaged ranges, in order.

    An incomplete last frame is reported as damage if `final`. Otherwise it is omitted, because its
    writer may still complete it.
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
    base, _, _, magic, crc = _HEAD.unpack_from(data, at)
    attributes, _, _, _, epoch, high, low, count = _BODY.unpack_from(data, at + _HEAD.size)
    if magic != 2 or attributes & _COMPRESSION or base != high << _LOW_BITS | low:
        return None
    if crc != crc32c(memoryview(data)[at + _HEAD.size : end]):
        return None
    records = read_records(data[at + HEADER : end], count)
    if records is None:
        return None
    return Frame(at, end, epoch, base, records.values, records.raws)


def _next_frame(data: bytes, start: int) -> Frame | None:
    # Search for the magic byte only. No CRC covers the leader epoch before it, so a frame with a
    # damaged leader epoch is still valid.
    mark = data.find(_MAGIC, start + _BEFORE_MAGIC)
    while mark >= 0:
        frame = _frame_at(data, mark - _BEFORE_MAGIC)
        if frame is not None:
            return frame
        mark = data.find(_MAGIC, mark + 1)
    return None


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + _BEFORE_LENGTH : at + _BEFORE_BODY], "big", signed=True)


def _may_grow(data: bytes, at: int) -> bool:
    if len(data) - at < _BEFORE_BODY:
        return True
    length = _length(data, at)
    return 0 < length <= LARGEST_FRAME and at + _BEFORE_BODY + length > len(data)
