"""Names of element types in the Open Inference Protocol, NumPy and ONNX Runtime.

| datatype | NumPy | ONNX Runtime | | datatype | NumPy | ONNX Runtime |
| --- | --- | --- | --- | --- | --- | --- |
| BOOL | bool | tensor(bool) | | INT8 ... INT64 | int8 ... | tensor(int8) ... |
| FP16 | float16 | tensor(float16) | | UINT8 ... UINT64 | uint8 ... | tensor(uint8) ... |
| FP32 | float32 | tensor(float) | | FP64 | float64 | tensor(double) |
| BF16 | ml_dtypes.bfloat16 | tensor(bfloat16) | | | | |
| BYTES | object (of str) | tensor(string) | | | | |
"""

from typing import Any

import ml_dtypes  # a dependency of onnx
import numpy as np

from registry.errors import InvalidModel

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BYTES": np.dtype(np.object_),
}

_ONNX = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}

_TO_ONNX = {datatype: name for name, datatype in _ONNX.items()}
_FROM_NUMPY = {dtype: datatype for datatype, dtype in NUMPY.items()}


def is_floating(array: np.ndarray[Any, Any]) -> bool:
    """Return whether the array can contain NaN; BF16 has a separate kind in NumPy."""
    return array.dtype.kind == "f" or bool(array.dtype == NUMPY["BF16"])


def from_onnx(name: str) -> str:
    """Return the datatype of ONNX Runtime's type, e.g. "tensor(float)" -> "FP32".

    Raises InvalidModel if the protocol has no such datatype (sequences, maps, complex numbers).
    """
    try:
        return _ONNX[name]
    except KeyError:
        raise InvalidModel(
            f"type {name} does not exist in the Open Inference Protocol; "
            f"expected one of {', '.join(_ONNX)}"
        ) from None


def to_onnx(datatype: str) -> str:
    """Return ONNX Runtime's type of a datatype, "FP32" -> "tensor(float)" for example."""
    return _TO_ONNX[datatype]


def of_array(array: np.ndarray[Any, Any]) -> str:
    """Return the datatype of an array; Python objects and NumPy strings are BYTES.

    Raises TypeError for a dtype that ONNX Runtime never returns.
    """
    if array.dtype.kind == "U":
        return "BYTES"
    try:
        return _FROM_NUMPY[array.dtype]
    except KeyError:
        raise TypeError(f"{array.dtype} has no Open Inference Protocol datatype") from None
