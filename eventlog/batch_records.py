"""Read the records of a Kafka record batch v2 from a segment or a topic.

Only a record's offset, value and raw part (wire.py) are read. Keys, times and other headers are
skipped, because decoding them, as kafka-python does, takes a fifth of an event's ingestion time.
"""

from typing import NamedTuple

RAW_NAME = b"driftline_raw"  # name of the header that contains a record's raw part
_LONGEST_VARINT = 10  # bytes of an encoded 64-bit number, with 7 bits per byte


class BatchRecords(NamedTuple):
    """The records of a batch in columns."""

    offsets: list[int]  # relative to the batch's base offset
    values: list[bytes]  # b"" for a record without a value
    raws: dict[int, bytes]  # record index -> raw part


def read_records(data: bytes, count: int) -> BatchRecords | None:
    """Read `count` uncompressed records; return None unless they fill `data` exactly.

    Skipped headers are not checked, because the batch's CRC covers them.
    """
    offsets: list[int] = []
    values: list[bytes] = []
    raws: dict[int, bytes] = {}
    at = 0
    try:
        for index in range(count):
            size, at = read_varint(data, at)
            end = at + size
            at += 1  # attributes
            while data[at] > 0x7F:  # the time
                at += 1
            offset, at = read_varint(data, at + 1)
            key, at = read_varint(data, at)
            length, at = read_varint(data, at + key if key > 0 else at)
            begin, at = at, at + length if length > 0 else at
            if at >= end:  # at least the number of headers follows
                return None
            offsets.append(offset)
            values.append(data[begin:at])
            if end - at > len(RAW_NAME) and data.find(RAW_NAME, at, end) >= 0:
                raw = _raw_part(data, at, end)
                if raw:
                    raws[index] = raw
            at = end
    except (IndexError, ValueError):
        return None
    return BatchRecords(offsets, values, raws) if at == len(data) else None


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode a zigzag varint at byte `at`; return the number and the position after it.

    Raises IndexError if the data ends, and ValueError if the number has more than 64 bits.
    """
    encoded = data[at]
    if encoded < 0x80:
        return encoded >> 1 ^ -(encoded & 1), at + 1
    encoded &= 0x7F
    byte = data[at + 1]
    if byte < 0x80:  # most lengths have two bytes
        encoded |= byte << 7
        return encoded >> 1 ^ -(encoded & 1), at + 2
    encoded |= (byte & 0x7F) << 7
    for place in range(2, _LONGEST_VARINT):
        byte = data[at + place]
        encoded |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return encoded >> 1 ^ -(encoded & 1), at + place + 1
    raise ValueError("a number of more than 64 bits")


def _raw_part(data: bytes, at: int, end: int) -> bytes:
    """Return the raw part in a record's headers, which are bytes [at, end), or b"" if absent."""
    count, at = read_varint(data, at)
    for _ in range(count):
        length, at = read_varint(data, at)
        name, at = data[at : at + length], at + length
        length, at = read_varint(data, at)
        if name == RAW_NAME:
            return data[at : at + length] if length > 0 and at + length <= end else b""
        at += max(length, 0)
    return b""
