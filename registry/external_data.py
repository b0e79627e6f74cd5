"""External data of a model: weights outside of its ONNX file, which is limited to 2 GiB.

All external weights are in one file, model.data, at offsets that the ONNX file states. ONNX Runtime
maps this file into memory, so that workers of one machine share its pages.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from registry.errors import InvalidModel
from registry.stored_files import DATA

_FOLDER = "session.model_external_initializers_file_folder_path"  # name of ONNX Runtime's setting
_PAGE = 4_096  # bytes; mapped weights start at multiples of it


def use_data(options: Any, folder: Path | None) -> None:
    """Point a session at the external data in a version's folder, if it exists."""
    if folder is not None and (folder / DATA).is_file():
        options.add_session_config_entry(_FOLDER, str(folder))


def refer_to_data(tensor: onnx.TensorProto, offset: int, length: int) -> None:
    """Point a tensor at a part of the external data."""
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": DATA, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))


def aligned(place: int) -> int:
    """Return the next offset at which weights can be mapped."""
    return -(-place // _PAGE) * _PAGE


def without_data(model: onnx.ModelProto, tensors: Iterator[onnx.TensorProto]) -> onnx.ModelProto:
    """Make the model's tensors with external data empty, and return the model.

    `model` is changed, so pass a copy. ONNX's checker would otherwise look for the file.
    """
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.ClearField("dims")
            tensor.dims.append(0)
    return model


def require_within(tensor: onnx.TensorProto, size: int) -> None:
    """Raise InvalidModel unless a tensor's values are within external data of `size` bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if entries.get("location") != DATA:
        raise InvalidModel(f"tensor {tensor.name!r} has its values outside {DATA}")
    offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    if offset < 0 or length < 0 or offset + length > size:
        raise InvalidModel(f"tensor {tensor.name!r} has its values beyond {DATA}: {size} bytes")
