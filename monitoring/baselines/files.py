"""Store the rows of a baseline as a Parquet file, named by its SHA-256.

Equal rows produce equal bytes, so a repeated step writes the same file. The file is on disk before
the database or the registry refers to it.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventlog.durable_files import make_folder, replace_file
from monitoring.counters.plain_values import category
from monitoring.errors import DatabaseUnavailable, MissingBaseline
from registry.features import monitored_columns
from registry.manifest import Manifest
from registry.own_columns import OwnColumns

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, Sequence[Any]]
_INFINITIES = {"Infinity": float("inf"), "-Infinity": float("-inf")}


class BaselineFiles:
    """The folder that contains the file of each baseline."""

    def __init__(self, folder: Path) -> None:
        """Store the files in `folder`, which is created with the first file."""
        self._folder = folder

    def write(self, manifest: Manifest, columns: Columns) -> str:
        """Store a version's rows durably, without their labels, and return the file's digest.

        Raises DatabaseUnavailable if the file cannot be written; the consumer then repeats the
        step.
        """
        data = _encode(manifest, columns)
        digest = sha256(data).hexdigest()
        path = self._path(digest)
        try:
            if not path.exists():
                make_folder(self._folder)
                replace_file(path, data)
        except OSError as error:
            raise DatabaseUnavailable(
                f"baseline {path}: {error.strerror or error}; free some space or permit writing"
            ) from error
        return digest

    def read(self, digest: str) -> "pd.DataFrame":
        """Read a baseline's rows; raises MissingBaseline if the file is missing or damaged."""
        import pandas as pd  # noqa: PLC0415 - the consumer only writes baselines

        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise MissingBaseline(
                f"baseline {path}: {error.strerror}; monitors that share a database must "
                "share this folder; `driftline baseline` chooses another baseline"
            ) from None
        if sha256(data).hexdigest() != digest:
            raise MissingBaseline(
                f"baseline {path}: the file is damaged: its content does not match its name"
            )
        frame: pd.DataFrame = pq.read_table(pa.BufferReader(data)).to_pandas()
        return frame

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.parquet"


def _encode(manifest: Manifest, columns: Columns) -> bytes:
    numeric = {column.name for column in monitored_columns(manifest) if column.kind == "numeric"}
    own = OwnColumns(manifest)
    numeric |= {own.probability(name) for name in manifest.prediction.classes}
    if manifest.task == "regression":
        numeric.add(own.prediction)
    arrays = {
        name: _numbers(values) if name in numeric else _categories(values)
        for name, values in columns.items()
        if name != own.label
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink, compression="zstd")
    return bytes(sink.getvalue())


def _numbers(values: Sequence[Any]) -> pa.Array:
    return pa.array([_number(value) for value in values], pa.float64())


def _number(value: Any) -> float | None:
    """Return a stored value as a float, or None for a string that is not a number."""
    if isinstance(value, str):
        return _INFINITIES.get(value)
    try:
        return None if value is None else float(value)
    except OverflowError:
        return _INFINITIES["Infinity" if value > 0 else "-Infinity"]


def _categories(values: Sequence[Any]) -> pa.Array:
    """Return categories unchanged, or as text if their types are mixed."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else category(value) for value in values])
