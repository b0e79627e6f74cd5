"""Read the rows of a reference from Parquet, CSV or NumPy files."""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from registry.errors import InvalidReference
from registry.manifest import Feature, Signature, TensorSpec

_MOST_COLUMNS = 100  # largest width of an array that is split into features by default
_MOST_ROWS = 10_000_000
_UNNAMED = ""  # name of a .npy file's column, which is for the only input
Array = np.ndarray[Any, Any]


def parse_reference(data: bytes) -> pd.DataFrame:
    """Return the rows of a Parquet, CSV, .npz or .npy file, whose content shows the format.

    Arrays of .npz and .npy files become columns. If an array has several dimensions, each row of
    its column contains an array. Raises InvalidReference for other content.
    """
    try:
        if data.startswith(b"PK"):
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return _from_arrays({name: arrays[name] for name in arrays.files})
        if data.startswith(b"\x93NUMPY"):
            return _from_arrays({_UNNAMED: np.load(io.BytesIO(data), allow_pickle=False)})
        if data.startswith(b"PAR1"):
            # Copy the bytes to a buffer of Arrow and read it in this thread. If a native thread
            # freed a Python object while the interpreter ends, the process would abort.
            stream = pa.BufferOutputStream()
            stream.write(data)
            source = pa.BufferReader(stream.getvalue())
            _require_bounded(pq.read_metadata(source).num_rows)
            source.seek(0)
            return pd.read_parquet(source, use_threads=False, pre_buffer=False)
        return pd.read_csv(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidReference(
            f"the reference is not a Parquet, CSV, .npz or .npy file: {error}"
        ) from None


def _require_bounded(rows: int) -> None:
    """Raise InvalidReference for too many rows, which a file of a few bytes can declare."""
    if rows > _MOST_ROWS:
        raise InvalidReference(
            f"the reference has {rows:,} rows; expected at most {_MOST_ROWS:,}: a sample is enough"
        )


def _from_arrays(arrays: dict[str, Array]) -> pd.DataFrame:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidReference(f"arrays differ in their number of rows: {lengths}")
    return pd.DataFrame({name: _column(array) for name, array in arrays.items()})


def _column(array: Array) -> "pd.Series[Any]":
    if array.ndim == 1 and array.dtype.kind in "biuf":
        return pd.Series(array)
    values = [item.item() if array.ndim == 1 else item for item in array]
    return pd.Series([_text(value) for value in values], dtype=object)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def with_feature_columns(
    frame: pd.DataFrame,
    model_signature: Signature,
    features: Sequence[Feature],
    names: Sequence[str],
) -> pd.DataFrame:
    """Split array columns of inputs [N, k] into a column for each feature.

    A column gets the feature's name. Without features, `names` are the names for the only input.
    Otherwise, the names are INPUT_0, INPUT_1 and so on.
    """
    if _UNNAMED in frame.columns and len(model_signature.inputs) == 1:
        frame = frame.rename(columns={_UNNAMED: model_signature.inputs[0].name})
    for spec in model_signature.inputs:
        if len(spec.shape) == 2 and spec.name in frame.columns and _holds_vectors(frame, spec):
            own = {
                feature.index: feature.name for feature in features if feature.input == spec.name
            }
            frame = _split_column(
                frame, spec, own, names if len(model_signature.inputs) == 1 else []
            )
    return frame


def _holds_vectors(frame: pd.DataFrame, spec: TensorSpec) -> bool:
    return all(isinstance(value, np.ndarray) and value.ndim == 1 for value in frame[spec.name])


def _split_column(
    frame: pd.DataFrame, spec: TensorSpec, own: dict[int, str], names: Sequence[str]
) -> pd.DataFrame:
    try:
        array = np.stack(list(frame[spec.name]))
    except ValueError as error:
        raise InvalidReference(f"reference column {spec.name!r}: {error}") from None
    count = array.shape[1]
    if not own and count > _MOST_COLUMNS:
        return frame  # the input is a vector
    column_names = (
        list(names) if len(names) == count else [f"{spec.name}_{i}" for i in range(count)]
    )
    columns = {own.get(i, column_names[i]): array[:, i] for i in range(count)}
    return pd.concat(
        [frame.drop(columns=spec.name), pd.DataFrame(columns, index=frame.index)], axis=1
    )
