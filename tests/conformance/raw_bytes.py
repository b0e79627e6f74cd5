"""Raw tensor contents, encoded independently of the service's codec."""

import struct
from typing import Any

import numpy as np

from registry.datatypes import NUMPY
from tests.conformance.cases import CaseTensor


def to_raw(tensor: CaseTensor) -> bytes:
    if tensor.datatype == "BYTES":
        encoded = [value.encode() for value in tensor.values]
        return b"".join(struct.pack("<I", len(value)) + value for value in encoded)
    dtype = NUMPY.get(tensor.datatype, NUMPY["FP32"])
    return np.array(tensor.values, dtype).tobytes()


def from_raw(raw: bytes, datatype: str) -> Any:
    if datatype != "BYTES":
        return np.frombuffer(raw, NUMPY[datatype])
    values, position = [], 0
    while position < len(raw):
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4 + length
        values.append(raw[position - length : position].decode())
    return np.array(values, object)
