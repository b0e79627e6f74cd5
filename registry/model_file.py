"""Read a model from an ONNX file, or from a folder with an ONNX file and its external data.

External data must be inside the folder. An absolute path, a path with `..` or a link to the outside
could refer to any file of the machine. The weights are embedded in the served copy or, if they are
too large, packed into one file next to it. The digest covers them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import onnx

from registry.errors import InvalidModel
from registry.external_data import aligned, refer_to_data
from registry.onnx_file import parse, tensors_of

MOST_EMBEDDED = 2**31 - 2**20  # largest size of graph and weights in one protobuf message, in bytes
_CHUNK = 1 << 24  # bytes per read


def read_model(path: Path, data: Path | None = None) -> bytes:
    """Return the bytes of the ONNX file, with embedded external data if `path` is a folder.

    If the external data is too large, it is packed into the file `data`, to which the model then
    refers. Raises InvalidModel if a file cannot be read or external data is outside the folder.
    """
    if not path.is_dir():
        return _read(path)
    files = sorted(path.glob("*.onnx"))
    candidates = [file for file in files if file.name == "model.onnx"] or files
    if len(candidates) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise InvalidModel(f"{path}: expected one .onnx file, or one named model.onnx; got {names}")
    model = parse(_read(_inside(path, candidates[0].name, "the model")))
    outside = [t for t in tensors_of(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    total = sum(_part(tensor, path)[2] for tensor in outside) + model.ByteSize()
    if total <= MOST_EMBEDDED:
        _embed(outside, path)
    elif data is not None:
        _pack(outside, path, data)
    else:
        raise InvalidModel(
            f"{path}: the model has {total:,} bytes with its external data; expected at most "
            f"{MOST_EMBEDDED:,} here"
        )
    return bytes(model.SerializeToString())


def _pack(outside: Sequence[onnx.TensorProto], folder: Path, data: Path) -> None:
    """Write the values of tensors into one file; write a part that several tensors share once."""
    places: dict[tuple[Path, int, int], int] = {}
    _embed([tensor for tensor in outside if not _part(tensor, folder)[2]], folder)
    with data.open("wb") as packed:
        for tensor in (
            tensor for tensor in outside if tensor.data_location == onnx.TensorProto.EXTERNAL
        ):
            part = file, offset, length = _part(tensor, folder)
            if part not in places:
                places[part] = aligned(packed.tell())
                packed.seek(places[part])
                _copy(file, offset, length, packed)
            refer_to_data(tensor, places[part], length)


def _copy(file: Path, offset: int, length: int, into: BinaryIO) -> None:
    with file.open("rb") as opened:
        opened.seek(offset)
        while length > 0 and (chunk := opened.read(min(length, _CHUNK))):
            into.write(chunk)
            length -= len(chunk)


def _embed(outside: Sequence[onnx.TensorProto], folder: Path) -> None:
    for tensor in outside:
        file, offset, length = _part(tensor, folder)
        with file.open("rb") as opened:
            opened.seek(offset)
            tensor.raw_data = opened.read(length)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def _part(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int, int]:
    """Return the file, offset and length of a tensor's data."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    what = f"external data of tensor {tensor.name!r}"
    file = _inside(folder, entries.get("location", ""), what)
    size = file.stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
    except ValueError:
        raise InvalidModel(f"{what}: offset and length are not numbers") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise InvalidModel(
            f"{what}: bytes {offset} to {offset + length} of {file.name}, which has {size}"
        )
    return file, offset, length


def _inside(folder: Path, location: str, what: str) -> Path:
    """Return the file at a location; raise InvalidModel unless it is in the folder."""
    relative = Path(location)
    if not location or relative.is_absolute() or ".." in relative.parts or "\\" in location:
        raise InvalidModel(f"{what} is at {location!r}; expected a path inside the folder")
    file = (folder / relative).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise InvalidModel(f"{what} is at {location!r}, a link that leads out of the folder")
    if not file.is_file():
        raise InvalidModel(f"{what} is at {location!r}, which is not a file of the folder")
    return file


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidModel(f"cannot read {path}: {error.strerror}") from None
