"""Write tensors to a buffer and read them from it. Pure.

    header    MessagePack: name, datatype, shape, offset and size of each tensor
    tensors   at multiples of 64 bytes: numbers in native byte order, texts as MessagePack

The reader checks everything, because a model can have corrupted the writer's memory.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import msgspec
import numpy as np

from registry.datatypes import NUMPY, of_array

Array = np.ndarray[Any, Any]
_ALIGNMENT = 64  # bytes; offsets of tensors are multiples of it
_MOST_DIMENSIONS = 32  # maximum number of a NumPy array's dimensions
_LONGEST = 1 << 40  # maximum size of a dimension
_encode = msgspec.msgpack.Encoder().encode


class MalformedFrame(ValueError):
    """A buffer does not contain what its header states."""


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    name: str
    datatype: str
    shape: list[int]
    offset: int
    size: int


_decode_entries = msgspec.msgpack.Decoder(list[_Entry]).decode
_decode_texts = msgspec.msgpack.Decoder(list[str]).decode


class TensorFrame(msgspec.Struct, frozen=True):
    """Tensors and their offsets in a buffer, before they are written."""

    header: bytes
    parts: list[tuple[int, Array | bytes]]  # (offset, content)
    size: int  # size of the frame in bytes


def lay_out(tensors: Mapping[str, Array]) -> TensorFrame:
    """Return the frame of these tensors; raises TypeError for a dtype without a datatype."""
    contents = [(name, of_array(array), array) for name, array in tensors.items()]
    parts: list[Array | bytes] = [
        _encode([str(text) for text in array.ravel()])
        if datatype == "BYTES"
        else np.ascontiguousarray(array)
        for _, datatype, array in contents
    ]
    sizes = [len(part) if isinstance(part, bytes) else part.nbytes for part in parts]
    # Offsets in the header are relative to its end, because its length depends on them.
    entries, offset = [], 0
    for (name, datatype, array), size in zip(contents, sizes, strict=True):
        entries.append((name, datatype, array.shape, offset, size))
        offset += _aligned(size)
    header = _encode(entries)
    start = _aligned(len(header))
    return TensorFrame(
        header,
        [(start + offset, part) for (*_, offset, _), part in zip(entries, parts, strict=True)],
        start + offset,
    )


def write(frame: TensorFrame, buffer: memoryview) -> None:
    """Write a frame to the start of a buffer, which must be large enough."""
    buffer[: len(frame.header)] = frame.header
    for offset, part in frame.parts:
        if isinstance(part, bytes):
            buffer[offset : offset + len(part)] = part
        elif part.nbytes:
            target = np.frombuffer(buffer, np.uint8, part.nbytes, offset)
            target[:] = part.reshape(-1).view(np.uint8)


def read(buffer: memoryview, header: int, *, copy: bool) -> dict[str, Array]:
    """Return the tensors of a frame whose header has `header` bytes; raises MalformedFrame.

    Without `copy`, arrays are views of the buffer. The header is copied before it is decoded, so
    that the writer cannot change it in between.
    """
    if not 0 <= header <= len(buffer):
        raise MalformedFrame(f"header of {header} bytes in a buffer of {len(buffer)}")
    try:
        entries = _decode_entries(bytes(buffer[:header]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedFrame(f"header: {error}") from None
    start = _aligned(header)
    return {entry.name: _read(buffer, start, entry, copy=copy) for entry in entries}


def _read(buffer: memoryview, start: int, entry: _Entry, *, copy: bool) -> Array:
    dtype = NUMPY.get(entry.datatype)
    at = start + entry.offset
    if dtype is None:
        raise MalformedFrame(f"tensor {entry.name!r}: unknown datatype {entry.datatype!r}")
    if entry.offset < 0 or entry.size < 0 or at + entry.size > len(buffer):
        raise MalformedFrame(f"tensor {entry.name!r} is outside the buffer")
    if len(entry.shape) > _MOST_DIMENSIONS or any(
        not 0 <= size <= _LONGEST for size in entry.shape
    ):
        raise MalformedFrame(f"tensor {entry.name!r}: shape {entry.shape}")
    count = prod(entry.shape)
    if entry.datatype == "BYTES":
        return _texts(bytes(buffer[at : at + entry.size]), entry, count)
    if count * dtype.itemsize != entry.size:
        raise MalformedFrame(
            f"tensor {entry.name!r}: {entry.size} bytes for {entry.datatype} {entry.shape}"
        )
    array: Array = np.frombuffer(buffer, dtype, count, at).reshape(entry.shape)
    return array.copy() if copy else array


def _texts(content: bytes, entry: _Entry, count: int) -> Array:
    try:
        texts = _decode_texts(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedFrame(f"tensor {entry.name!r}: {error}") from None
    if len(texts) != count:
        raise MalformedFrame(f"tensor {entry.name!r}: {len(texts)} texts for {entry.shape}")
    array: Array = np.empty(count, dtype=np.object_)
    array[:] = texts
    return array.reshape(entry.shape)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
