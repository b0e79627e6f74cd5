"""Assemble the output of a job from its finished chunks, and publish each file atomically."""

import csv as text
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from driftline.batch.checkpoints import FinishedChunk
from driftline.batch.job import BatchRun
from driftline.batch.storage import FORMATS, Storage, suffix
from driftline.batch.tables import regroup

_GROUP = 131_072  # rows per Parquet row group
_REJECTS = "_rejects.csv"  # readers of table folders ignore names with a leading underscore


def rejects_name(output: str) -> str:
    """Return the path of a job's list of rejects."""
    if suffix(output) in FORMATS:
        return f"{output[: -len(suffix(output))]}.rejects.csv"
    return f"{output.rstrip('/')}/{_REJECTS}"


def assemble(run: BatchRun) -> int:
    """Write the output and, if rows were rejected, their list; return the number of rejected rows.

    Files are replaced atomically: a reader sees the complete old or the complete new file.
    """
    output = run.job.output
    rejected = _list_rejects(run, rejects_name(output))
    if suffix(output) in FORMATS:
        every = (chunk for n in range(len(run.job.files)) for chunk in run.finished(n))
        _write(run, every, suffix(output), output)
        return rejected
    for number, file in enumerate(run.job.files):
        target = f"{output.rstrip('/')}/{file.name}"
        _write(run, run.finished(number), file.format, target)
    return rejected


def _write(run: BatchRun, chunks: Iterable[FinishedChunk], kind: str, target: str) -> None:
    draft = run.checkpoints.path(f"output{kind}")
    schema = run.columns.schema
    batches = (batch for chunk in chunks for batch in chunk.table.to_batches())
    if kind == ".parquet":
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for table in regroup(batches, _GROUP):
                writer.write_table(table, row_group_size=_GROUP)
    else:
        with csv.CSVWriter(str(draft), schema) as lines:
            for batch in batches:
                lines.write_batch(_without_fp16(batch))
    _place(draft, target)


def _without_fp16(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with FP16 columns as FP32, because Arrow cannot write FP16 to CSV."""
    if not any(field.type == pa.float16() for field in batch.schema):
        return batch
    wide = [pa.float32() if f.type == pa.float16() else f.type for f in batch.schema]
    return batch.cast(pa.schema(list(zip(batch.schema.names, wide, strict=True))))


def _list_rejects(run: BatchRun, target: str) -> int:
    draft, count = run.checkpoints.path("rejects.csv"), 0
    with draft.open("w", newline="") as file:
        lines = text.writer(file, lineterminator="\n")
        lines.writerow(["file", "row", "reason"])
        for name, row, reason in _rejects(run):
            lines.writerow([name, row, reason])
            count += 1
    if count:
        _place(draft, target)
    elif "://" not in target:
        Path(target).unlink(missing_ok=True)  # left by an earlier job
    return count


def _rejects(run: BatchRun) -> Iterator[tuple[str, int, str]]:
    for number, file in enumerate(run.job.files):
        for chunk in run.finished(number):
            for row, reason in chunk.rejects.items():
                yield file.name, row, reason


def _place(draft: Path, target: str) -> None:
    """Move a draft to its target: by a rename on this machine, as one object in a store."""
    if "://" in target:
        Storage(target).put(str(draft))
        return
    descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    draft.replace(target)
