"""Lay tensors out in a buffer and read them back. Pure.

    header    MessagePack: name, datatype, shape, offset and size of each tensor
    tensors   at multiples of 64 bytes: numbers as they are in memory, texts as MessagePack

The reader trusts nothing: the writer may be a process that a model has corrupted.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import msgspec
import numpy as np

from registry.datatypes import NUMPY, of_array

Array = np.ndarray[Any, Any]
_ALIGNMENT = 64
_MOST_DIMENSIONS = 32  # maximum dimensions of a NumPy array
_LONGEST = 1 << 40  # maximum size of a dimension
_encode = msgspec.msgpack.Encoder().encode


class MalformedFrame(ValueError):
    """A buffer does not hold what its header states."""


class _Place(msgspec.Struct, frozen=True, array_like=True):
    name: str
    datatype: str
    shape: list[int]
    offset: int
    size: int


_decode_places = msgspec.msgpack.Decoder(list[_Place]).decode
_decode_texts = msgspec.msgpack.Decoder(list[str]).decode


class TensorFrame(msgspec.Struct, frozen=True):
    """Tensors that are laid out, and not written yet."""

    header: bytes
    parts: list[tuple[int, Array | bytes]]  # offset and content
    size: int  # size of the whole frame in bytes


def lay_out(tensors: Mapping[str, Array]) -> TensorFrame:
    """Return the offset of each tensor; raises TypeError for a dtype without a datatype."""
    contents = [(name, of_array(array), array) for name, array in tensors.items()]
    parts: list[Array | bytes] = [
        _encode([str(text) for text in array.ravel()])
        if datatype == "BYTES"
        else np.ascontiguousarray(array)
        for _, datatype, array in contents
    ]
    sizes = [len(part) if isinstance(part, bytes) else part.nbytes for part in parts]
    # The offsets count from the end of the header, whose length depends on them.
    places, offset = [], 0
    for (name, datatype, array), size in zip(contents, sizes, strict=True):
        places.append((name, datatype, array.shape, offset, size))
        offset += _aligned(size)
    header = _encode(places)
    start = _aligned(len(header))
    return TensorFrame(
        header,
        [(start + at, part) for (*_, at, _), part in zip(places, parts, strict=True)],
        start + offset,
    )


def write(frame: TensorFrame, buffer: memoryview) -> None:
    """Write a frame to the start of a buffer that has its size."""
    buffer[: len(frame.header)] = frame.header
    for offset, part in frame.parts:
        if isinstance(part, bytes):
            buffer[offset : offset + len(part)] = part
        elif part.nbytes:
            target = np.frombuffer(buffer, np.uint8, part.nbytes, offset)
            target[:] = part.reshape(-1).view(np.uint8)


def read(buffer: memoryview, header: int, *, copy: bool) -> dict[str, Array]:
    """Return the tensors of a frame whose header has `header` bytes; raises MalformedFrame.

    Without `copy`, arrays are views of the buffer. The header is copied before it is read, so that
    a writer cannot change it meanwhile.
    """
    if not 0 <= header <= len(buffer):
        raise MalformedFrame(f"header of {header} bytes in a buffer of {len(buffer)}")
    try:
        places = _decode_places(bytes(buffer[:header]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedFrame(f"header: {error}") from None
    start = _aligned(header)
    return {place.name: _read(buffer, start, place, copy=copy) for place in places}


def _read(buffer: memoryview, start: int, place: _Place, *, copy: bool) -> Array:
    dtype = NUMPY.get(place.datatype)
    at = start + place.offset
    if dtype is None:
        raise MalformedFrame(f"tensor {place.name!r}: unknown datatype {place.datatype!r}")
    if place.offset < 0 or place.size < 0 or at + place.size > len(buffer):
        raise MalformedFrame(f"tensor {place.name!r} lies outside the buffer")
    if len(place.shape) > _MOST_DIMENSIONS or any(
        not 0 <= size <= _LONGEST for size in place.shape
    ):
        raise MalformedFrame(f"tensor {place.name!r}: shape {place.shape}")
    count = prod(place.shape)
    if place.datatype == "BYTES":
        return _texts(bytes(buffer[at : at + place.size]), place, count)
    if count * dtype.itemsize != place.size:
        raise MalformedFrame(
            f"tensor {place.name!r}: {place.size} bytes for {place.datatype} {place.shape}"
        )
    array: Array = np.frombuffer(buffer, dtype, count, at).reshape(place.shape)
    return array.copy() if copy else array


def _texts(content: bytes, place: _Place, count: int) -> Array:
    try:
        texts = _decode_texts(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedFrame(f"tensor {place.name!r}: {error}") from None
    if len(texts) != count:
        raise MalformedFrame(f"tensor {place.name!r}: {len(texts)} texts for {place.shape}")
    array: Array = np.empty(count, dtype=np.object_)
    array[:] = texts
    return array.reshape(place.shape)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
