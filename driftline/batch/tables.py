"""Read a file of rows as tables of equally many rows, in order and in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from driftline.batch.errors import BatchError
from driftline.batch.storage import ArrowFault, InputFile, Storage

_BLOCK = 4 << 20  # bytes of CSV that are parsed at once
_PARQUET_ROWS = 65_536  # largest number of rows that are decoded at once


def columns_of(storage: Storage, file: InputFile) -> pa.Schema:
    """Return names and types of a file's columns; those of CSV are texts. Raises BatchError."""
    try:
        if file.format == ".csv":
            with _open_csv(storage, file, None) as reader:
                return pa.schema([(name, pa.string()) for name in reader.schema.names])
        with storage.files.open_input_file(file.path) as source, pq.ParquetFile(source) as opened:
            return opened.schema_arrow
    except ArrowFault as error:
        raise _unreadable(file, error) from None


def row_count(storage: Storage, file: InputFile) -> int | None:
    """Return the number of rows if the file states it."""
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
    """Yield tables of `rows` rows after the first `skip`, the last one smaller.

    Raises BatchError for a file that is damaged or was cut.
    """
    try:
        batches = _csv(storage, file, columns) if file.format == ".csv" else None
        if batches is None:
            batches, skip = _parquet(storage, file, columns, min(rows, _PARQUET_ROWS), skip)
        yield from regroup(batches, rows, skip)
    except ArrowFault as error:
        raise _unreadable(file, error) from None


def regroup(batches: Iterable[pa.RecordBatch], rows: int, skip: int = 0) -> Iterator[pa.Table]:
    """Yield tables of exactly `rows` rows after the first `skip`; the last one may be smaller."""
    held: list[pa.RecordBatch] = []
    count = 0
    for whole in batches:
        batch = whole.slice(min(skip, len(whole)))
        skip -= len(whole) - len(batch)
        while len(batch):
            part = batch.slice(0, rows - count)
            batch = batch.slice(len(part))
            held.append(part)
            count += len(part)
            if count == rows:
                yield pa.Table.from_batches(held)
                held, count = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _parquet(
    storage: Storage, file: InputFile, columns: Sequence[str], rows: int, skip: int
) -> tuple[Iterator[pa.RecordBatch], int]:
    """Return the batches from the row group on that holds row `skip`, and the rows to skip."""
    source = storage.files.open_input_file(file.path)
    opened = pq.ParquetFile(source, pre_buffer=False)
    sizes = [opened.metadata.row_group(one).num_rows for one in range(opened.num_row_groups)]
    first = 0
    while first < len(sizes) and skip >= sizes[first]:
        skip -= sizes[first]
        first += 1
    groups = list(range(first, len(sizes)))

    def batches() -> Iterator[pa.RecordBatch]:
        with source, opened:
            if groups:
                yield from opened.iter_batches(
                    rows, row_groups=groups, columns=list(columns), use_threads=False
                )

    return batches(), skip


def _csv(storage: Storage, file: InputFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _open_csv(storage, file, columns) as reader:
        yield from reader


def _open_csv(
    storage: Storage, file: InputFile, columns: Sequence[str] | None
) -> csv.CSVStreamingReader:
    """Open a CSV file whose values are all read as texts; an empty one is missing."""
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
