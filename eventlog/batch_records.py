"""Read the records of a Kafka record batch v2, whether a segment or a topic holds it.

Of a record, only its offset, its value and its raw part (wire.py) are read. Keys, times and other
headers are skipped: decoding them, as kafka-python does, takes a fifth of all that ingesting an
event from Kafka costs.
"""

from typing import NamedTuple

RAW_NAME = b"driftline_raw"  # name of the header that holds a record's raw part
_LONGEST_VARINT = 10  # bytes of a 64-bit number, 7 bits in each


class BatchRecords(NamedTuple):
    """Hold the records of a batch in columns."""

    offsets: list[int]  # offsets from the batch's base offset
    values: list[bytes]  # empty if a record has none
    raws: dict[int, bytes]  # the raw parts, by index of their record


def read_records(data: bytes, count: int) -> BatchRecords | None:
    """Read `count` uncompressed records that fill `data`; return None if it does not hold them.

    Does not check the headers that it skips: the batch's CRC covers them.
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
    """Decode a zigzag number of 7 bits per byte, lowest first; return it and its end.

    Raises IndexError if the data ends, and ValueError if the number has more than 64 bits.
    """
    encoded = data[at]
    if encoded < 0x80:
        return encoded >> 1 ^ -(encoded & 1), at + 1
    encoded &= 0x7F
    byte = data[at + 1]
    if byte < 0x80:  # as most lengths
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
    """Return the raw part among the headers at bytes [at, end) of a record; empty: it has none."""
    count, at = read_varint(data, at)
    for _ in range(count):
        length, at = read_varint(data, at)
        name, at = data[at : at + length], at + length
        length, at = read_varint(data, at)
        if name == RAW_NAME:
            return data[at : at + length] if length > 0 and at + length <= end else b""
        at += max(length, 0)
    return b""
