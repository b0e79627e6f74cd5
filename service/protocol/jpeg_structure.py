"""Check the segments of a JPEG as libjpeg reads them (ITU-T T.81, annex B). Pure.

libjpeg ends the process if a segment is invalid, for example a Huffman table. If the file is
truncated, the decoder waits forever for its end. Errors in the compressed data cause only warnings,
so the data is not checked.
"""

import re
from collections.abc import Iterator
from itertools import accumulate

_MARKER = re.compile(rb"\xff+([\x01-\xfe])", re.DOTALL)
_SOI, _EOI, _SOS, _DQT, _DHT, _DRI = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}  # TEM and RSTn, which have no segment
_SKIPPED = {*range(0xE0, 0xF0), 0xFE}  # APPn and COM
_FRAMES = {0xC0, 0xC1, 0xC2}  # SOF0, SOF1, SOF2: baseline, extended, progressive
_PROGRESSIVE = 0xC2  # SOF2
_MOST_BLOCKS = 10  # maximum number of blocks in an interleaved MCU


class JpegFault(Exception):
    """An error in a segment that would end the decoder's process."""


def check_jpeg(data: bytes) -> tuple[int, int]:
    """Return width and height; raises JpegFault."""
    reader = _Reader()
    for marker, content in _segments(data):
        reader.read(marker, content)
    if reader.size is None or not reader.scans:
        raise JpegFault("it has no image")
    return reader.size


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker and the content of its segment, until the end marker."""
    if data[:2] != b"\xff\xd8":
        raise JpegFault("it does not start with the marker SOI")
    position = 2
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == _EOI:
            return
        if marker in _WITHOUT_LENGTH:
            continue
        size = int.from_bytes(data[position : position + 2])
        if size < 2 or position + size > len(data):
            raise JpegFault(f"segment {marker:#x} has the invalid length {size}")
        yield marker, data[position + 2 : position + size]
        position += size
    raise JpegFault("it is truncated: it has no end marker")


class _Reader:
    """The tables and components that the segments read so far define."""

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None
        self.scans = 0
        self._progressive = False
        self._components: dict[int, tuple[int, int]] = {}  # id -> (blocks per MCU, quantization)
        self._quantizations: set[int] = set()
        self._codes: set[tuple[int, int]] = set()  # Huffman tables: class (0: DC, 1: AC), number

    def read(self, marker: int, content: bytes) -> None:
        """Check one segment; raises JpegFault."""
        if marker in _SKIPPED:
            return
        if marker == _DQT:
            self._read_quantizations(content)
        elif marker == _DHT:
            self._read_codes(content)
        elif marker in _FRAMES:
            self._read_frame(marker, content)
        elif marker == _SOS:
            self._read_scan(content)
        elif marker != _DRI or len(content) != 2:
            raise JpegFault(f"segment {marker:#x} is of a kind that is not supported")

    def _read_quantizations(self, content: bytes) -> None:
        position = 0
        while position < len(content):
            wide, number = content[position] >> 4, content[position] & 15
            position += 1 + 64 * (1 + wide)
            if wide > 1 or number > 3 or position > len(content):
                raise JpegFault("a quantization table is truncated or has an invalid number")
            self._quantizations.add(number)

    def _read_codes(self, content: bytes) -> None:
        position = 0
        while position < len(content):
            kind, number = content[position] >> 4, content[position] & 15
            counts = content[position + 1 : position + 17]
            end = position + 17 + sum(counts)
            if kind > 1 or number > 3 or end > len(content) or not 0 < sum(counts) <= 256:
                raise JpegFault("a Huffman table is truncated or has an invalid number")
            codes = accumulate(counts, lambda code, count: 2 * code + count)
            if any(code > 1 << length for length, code in enumerate(codes, start=1)):
                raise JpegFault("a Huffman table has an invalid code")
            if kind == 0 and max(content[position + 17 : end]) > 15:
                raise JpegFault("a Huffman table has too large a DC difference")
            self._codes.add((kind, number))
            position = end

    def _read_frame(self, marker: int, content: bytes) -> None:
        count = content[5] if len(content) > 5 else 0
        if self.size or count not in {1, 3} or len(content) != 6 + 3 * count or content[0] != 8:
            raise JpegFault("the frame does not have 8 bits and one or three components")
        height, width = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
        for position in range(6, len(content), 3):
            number, sampling, quantization = content[position : position + 3]
            across, down = sampling >> 4, sampling & 15
            if number in self._components or not (0 < across <= 4 and 0 < down <= 4):
                raise JpegFault("a component is repeated or has invalid sampling factors")
            self._components[number] = (across * down, quantization)
        if not (width and height):
            raise JpegFault("the frame is empty")
        samplings = content[7::3]
        if any(
            max(factors >> shift & 15 for factors in samplings) % (factors >> shift & 15)
            for factors in samplings
            for shift in (4, 0)
        ):
            raise JpegFault("a component's sampling factor does not divide the largest factor")
        self.size, self._progressive = (width, height), marker == _PROGRESSIVE

    def _read_scan(self, content: bytes) -> None:
        count = content[0] if content else 0
        if self.size is None or not 0 < count <= 4 or len(content) != 4 + 2 * count:
            raise JpegFault("a scan has no frame or an invalid number of components")
        chosen = [
            (content[1 + 2 * position], content[2 + 2 * position]) for position in range(count)
        ]
        numbers = {number for number, _ in chosen}
        if len(numbers) < count or not numbers <= self._components.keys():
            raise JpegFault("a scan has unknown or repeated components")
        parts = [self._components[number] for number in numbers]
        if not {quantization for _, quantization in parts} <= self._quantizations:
            raise JpegFault("a component has no quantization table")
        if count > 1 and sum(blocks for blocks, _ in parts) > _MOST_BLOCKS:
            raise JpegFault("a scan has too many blocks")
        first, last, bits = content[-3:]
        if self._progressive:
            self._check_progression(count, first, last, bits)
        if not self._needed_codes(chosen, first, last, bits) <= self._codes:
            raise JpegFault("a scan uses a Huffman table that is not defined")
        self.scans += 1

    def _needed_codes(
        self, chosen: list[tuple[int, int]], first: int, last: int, bits: int
    ) -> set[tuple[int, int]]:
        """Return the Huffman tables that a scan uses; a refinement of DC uses none."""
        dc_tables = {(0, codes >> 4) for _, codes in chosen}
        ac_tables = {(1, codes & 15) for _, codes in chosen}
        if not self._progressive:
            return dc_tables | ac_tables
        if last:
            return ac_tables
        return set() if first == 0 and bits >> 4 else dc_tables

    @staticmethod
    def _check_progression(count: int, first: int, last: int, bits: int) -> None:
        high, low = bits >> 4, bits & 15
        spectral = last == 0 if first == 0 else first <= last <= 63 and count == 1
        if not spectral or (high and low != high - 1) or low > 13:
            raise JpegFault("a scan is not a valid step of a progressive image")
