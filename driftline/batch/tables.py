"""Read a CSV or Parquet file as tables of a fixed number of rows, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from driftline.batch.errors import BatchError
from driftline.batch.storage import ArrowFault, InputFile, Storage

_BLOCK = 4 << 20  # bytes of CSV parsed at a time
_PARQUET_ROWS = 65_536  # maximum number of rows decoded at a time


def columns_of(storage: Storage, file: InputFile) -> pa.Schema:
    """Return a file's column names and types; CSV columns are strings. Raises BatchError."""
    try:
        if file.format == ".csv":
            with _open_csv(storage, file, None) as reader:
                return pa.schema([(name, pa.string()) for name in reader.schema.names])
        with storage.files.open_input_file(file.path) as source, pq.ParquetFile(source) as parquet:
            return parquet.schema_arrow
    except ArrowFault as error:
        raise _unreadable(file, error) from None


def row_count(storage: Storage, file: InputFile) -> int | None:
    """Return the number of rows; None for CSV files, which do not store it."""
    if file.format == ".csv":
        return None
    try:
        with storage.files.open_input_file(file.path) as source:
            return int(pq.read_metadata(source).num_rows)
    except ArrowFault as error:
        raise _unreadable(file, error) from None


def read_tables(
    storage: Storage, file: InputFile, columns: Sequence[str], rows: int, skip: int = 0
) -> Iterator[pa.Table]:
    """Skip `skip` rows, then yield tables of `rows` rows; the last table may be smaller.

    Raises BatchError for a file that is damaged or truncated.
    """
    try:
        if file.format == ".csv":
            batches = _csv(storage, file, columns)
        else:
            batches, skip = _parquet(storage, file, columns, min(rows, _PARQUET_ROWS), skip)
        yield from regroup(batches, rows, skip)
    except ArrowFault as error:
        raise _unreadable(file, error) from None


def regroup(batches: Iterable[pa.RecordBatch], rows: int, skip: int = 0) -> Iterator[pa.Table]:
    """Skip `skip` rows, then yield tables of `rows` rows; the last table may be smaller."""
    slices: list[pa.RecordBatch] = []
    count = 0
    for whole in batches:
        batch = whole.slice(min(skip, len(whole)))
        skip -= len(whole) - len(batch)
        while len(batch):
            part = batch.slice(0, rows - count)
            batch = batch.slice(len(part))
            slices.append(part)
            count += len(part)
            if count == rows:
                yield pa.Table.from_batches(slices)
                slices, count = [], 0
    if slices:
        yield pa.Table.from_batches(slices)


def _parquet(
    storage: Storage, file: InputFile, columns: Sequence[str], rows: int, skip: int
) -> tuple[Iterator[pa.RecordBatch], int]:
    """Skip whole row groups; return the remaining batches and the number of rows still to skip.

    Each batch has at most `rows` rows.
    """
    source = storage.files.open_input_file(file.path)
    parquet = pq.ParquetFile(source, pre_buffer=False)
    sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    first = 0
    while first < len(sizes) and skip >= sizes[first]:
        skip -= sizes[first]
        first += 1
    groups = list(range(first, len(sizes)))

    def batches() -> Iterator[pa.RecordBatch]:
        with source, parquet:
            if groups:
                yield from parquet.iter_batches(
                    rows, row_groups=groups, columns=list(columns), use_threads=False
                )

    return batches(), skip


def _csv(storage: Storage, file: InputFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _open_csv(storage, file, columns) as reader:
        yield from reader


def _open_csv(
    storage: Storage, file: InputFile, columns: Sequence[str] | None
) -> csv.CSVStreamingReader:
    """Open a CSV file to read some or all columns as strings; empty values are missing."""
    source = storage.files.open_input_stream(file.path)
    names = [] if columns is None else list(columns)
    convert = csv.ConvertOptions(
        include_columns=names,
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    return csv.open_csv(
        source,
        read_options=csv.ReadOptions(block_size=_BLOCK, use_threads=False),
        convert_options=convert,
    )


def _unreadable(file: InputFile, error: Exception) -> BatchError:
    return BatchError(f"{file.name} cannot be read: {' '.join(str(error).split())[:300]}")
