"""Codec of raw bytes, for gRPC's raw contents and REST's binary extension.

Numbers are little-endian. A BOOL is one byte. Each element of BYTES is preceded by its length in
four bytes.
"""

import struct
from collections.abc import Sequence
from math import prod

import numpy as np

from registry.datatypes import NUMPY
from service.errors import InvalidRequest
from service.protocol.messages import Array

_LENGTH = struct.Struct("<I")


class RawTensor:
    """An input with values in raw bytes."""

    raw_json = None

    def __init__(
        self, name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview
    ) -> None:
        """Store the arguments; `array` checks them."""
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self._raw = raw

    def array(self) -> Array:
        """Return the values in the stated shape; raises InvalidRequest if they do not fit."""
        if self.datatype == "BYTES":
            return _read_strings(bytes(self._raw), tuple(self.shape), self.name)
        dtype = NUMPY[self.datatype].newbyteorder("<")
        if len(self._raw) != prod(self.shape) * dtype.itemsize:
            raise InvalidRequest(
                f"{len(self._raw)} raw bytes; {self.datatype} of shape {list(self.shape)} needs "
                f"{prod(self.shape) * dtype.itemsize}",
                tensor=self.name,
            )
        array: Array
        if self.datatype == "BOOL":  # every byte except 0 is true; NumPy allows only 0 and 1
            array = np.frombuffer(self._raw, np.uint8) != 0
        else:
            array = np.frombuffer(self._raw, dtype)
            array = array if array.flags.aligned else array.copy()
        return array.reshape(tuple(self.shape))


def write_raw(datatype: str, array: Array) -> bytes:
    """Return the values as raw bytes."""
    if datatype != "BYTES":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    encoded = [str(value).encode() for value in array.ravel()]
    return b"".join(_LENGTH.pack(len(value)) + value for value in encoded)


def read_text(value: bytes, name: str) -> str:
    """Decode an element of BYTES as UTF-8; raises InvalidRequest, which names the tensor `name`."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"expected text in UTF-8: {error}", tensor=name) from None


def _read_strings(raw: bytes, shape: tuple[int, ...], name: str) -> Array:
    count = prod(shape)
    if count * _LENGTH.size > len(raw):
        raise InvalidRequest(f"{len(raw)} raw bytes; expected {count} strings", tensor=name)
    values, position = [], 0
    for _ in range(count):
        if position + _LENGTH.size > len(raw):
            break
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size + length
        values.append(read_text(raw[position - length : position], name))
    if len(values) != count or position != len(raw):
        raise InvalidRequest(
            f"{len(raw)} raw bytes; expected {count} strings, each preceded by its length in four "
            "bytes",
            tensor=name,
        )
    array: Array = np.array(values, dtype=np.object_)
    return array.reshape(shape)
