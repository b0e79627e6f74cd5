"""Read segment files as Kafka record batches of version 2, without the product's code."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from
from typing import Any

from crc32c import crc32c

_HEADER = 61  # bytes of a record batch before its first record

Place = tuple[str, int, int]  # source, epoch, sequence


def logged(log: Path) -> dict[Place, dict[str, Any]]:
    """Return every intact event of a log folder by its place; a place that is there twice fails."""
    found: dict[Place, dict[str, Any]] = {}
    for path in sorted(log.glob("*/*.log")):
        for _, records in _frames(path.read_bytes()):
            for epoch, sequence, value in records:
                event = json.loads(value)
                place = event["source"], event["epoch"], event["sequence"]
                assert place == (path.parent.name, epoch, sequence)
                assert place not in found, f"{place} is in the log twice"
                found[place] = event
    return found


def damage(log: Path, chance: random.Random) -> set[Place]:
    """Flip a byte of one frame of a log; return the places of its events."""
    frames = [
        (path, span, records)
        for path in sorted(log.glob("*/*.log"))
        for span, records in _frames(path.read_bytes())
    ]
    path, span, records = chance.choice(frames)
    with path.open("r+b") as file:
        at = chance.choice(span)
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0x55]))
    return {(path.parent.name, epoch, sequence) for epoch, sequence, _ in records}


def _frames(data: bytes) -> Iterator[tuple[range, list[tuple[int, int, bytes]]]]:
    at = 0
    while at + _HEADER <= len(data):
        base, length = unpack_from(">qi", data, at)
        end = at + 12 + length
        (crc,) = unpack_from(">I", data, at + 17)
        # The CRC leaves the base out, and covers it in the producer's epoch and sequence.
        covered = unpack_from(">hi", data, at + 51)
        if (
            length < _HEADER - 12
            or end > len(data)
            or crc32c(data[at + 21 : end]) != crc
            or base != covered[0] << 31 | covered[1]
        ):
            at += 1  # a torn or damaged frame: look for the next one
            continue
        epoch, count = unpack_from(">q", data, at + 43)[0], unpack_from(">i", data, at + 57)[0]
        place = at + _HEADER
        records = []
        for _ in range(count):
            size, place = _varint(data, place)
            inner, following = place + 1, place + size  # skips the record's attributes
            _, inner = _varint(data, inner)  # time
            offset, inner = _varint(data, inner)
            key, inner = _varint(data, inner)
            value, inner = _varint(data, inner + max(key, 0))
            records.append((epoch, base + offset, data[inner : inner + value]))
            place = following
        yield range(at, end), records
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte, at = data[at], at + 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
