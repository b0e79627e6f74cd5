"""Prepare a batch job from the options of its command, run it, and report the result."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click
import msgspec
import pyarrow as pa

from driftline.batch.assembly import assemble, rejects_name
from driftline.batch.checkpoints import BatchJob, Checkpoints
from driftline.batch.chunk_events import ChunkLog
from driftline.batch.errors import BatchError
from driftline.batch.job import BatchRun
from driftline.batch.model import BatchModel
from driftline.batch.outputs import OutputColumns
from driftline.batch.progress import progress_display
from driftline.batch.reference_check import check_tables
from driftline.batch.rows import require_columns
from driftline.batch.storage import FORMATS, InputFile, Storage, suffix
from driftline.batch.tables import columns_of, read_tables, row_count
from eventlog.settings import LOG_PREFIX, Home, LogSettings, from_environment
from registry.manifest import Version
from registry.store import Registry
from service.settings import payload_key, read_settings

Check = Literal["off", "warn", "refuse"]


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `driftline predict`."""

    model: str
    source: str
    output: str
    number: str = ""
    alias: str = "champion"
    chunk: int = 10_000
    workers: int = 2
    copied: list[str] = []
    restart: bool = False
    check: Check = "off"
    unseen: float = 0.01  # largest share of rows outside the reference that a check accepts


class BatchResult(msgspec.Struct, frozen=True):
    """The result of a job."""

    job: BatchJob
    rows: int
    computed: int  # rows that this process predicted
    rejected: int
    seconds: float

    def lines(self) -> Iterator[str]:
        """Yield the lines that the command prints."""
        job = self.job
        rate = self.computed / self.seconds if self.seconds else 0.0
        resumed = f", {self.rows - self.computed:,} of them earlier" if self.earlier else ""
        yield (
            f"{self.rows:,} rows by {job.model} version {job.version}{resumed}, in "
            f"{self.seconds:.1f} s ({rate:,.0f} rows/s): {job.output}"
        )
        if self.rejected:
            yield f"{self.rejected:,} rows were rejected: {rejects_name(job.output)}"

    @property
    def earlier(self) -> bool:
        """Whether an earlier process finished some chunks of the job."""
        return self.computed < self.rows


def run_job(request: BatchRequest, *, quiet: bool = False) -> BatchResult:
    """Run a job to its end, or resume it; raises DriftlineError.

    If the process is killed, the next one continues after the last finished chunk.
    """
    began = time.monotonic()
    home, settings = Home.from_environment(), read_settings()
    registry = Registry(home)
    storage = Storage(request.source)
    files = storage.inputs()
    _require_output(request, files)
    requested_job = _job(request, registry, files)
    version = registry.version(requested_job.model, requested_job.version)
    schema = _checked_schema(storage, requested_job, version)
    if request.check != "off":
        _check(request, storage, files, version)
    with ExitStack() as parts:
        checkpoints = Checkpoints(_folder(home, request.output))
        parts.callback(checkpoints.close)
        job = checkpoints.begin(requested_job, restart=request.restart)
        if job.version != version.number:  # the version at the start of the unfinished job
            version = registry.version(job.model, job.version)
            schema = _checked_schema(storage, job, version)
        if version.digest != job.digest:
            raise BatchError(
                f"version {job.version} of {job.model} has changed since the job started; "
                "use --restart to start again"
            )
        model = BatchModel(version, settings)
        log = parts.enter_context(
            ChunkLog(
                home, from_environment(LogSettings, LOG_PREFIX), checkpoints, version,
                alias=job.alias, revision=registry.revision(), key=payload_key(settings),
            )
        )  # fmt: skip
        run = BatchRun(
            job, storage, version.manifest, model,
            OutputColumns(version.manifest, [schema.field(name) for name in job.copied]),
            checkpoints, log, request.workers,
        )  # fmt: skip
        display = progress_display(_total(storage, files), quiet=quiet)
        before = run.finished_rows()
        with display:
            run.run(display.add)
        rejected = assemble(run)
        rows = run.finished_rows()
        checkpoints.remove()
    return BatchResult(job, rows, rows - before, rejected, time.monotonic() - began)


def _job(request: BatchRequest, registry: Registry, files: list[InputFile]) -> BatchJob:
    """Return the job, with the version that its alias names now."""
    number, alias = request.number, ""
    if not number:
        alias = request.alias
        aliases = registry.aliases(request.model)
        if alias not in aliases:
            registry.versions(request.model)  # raises UnknownModel, the clearer error
            set_aliases = ", ".join(aliases) or "none is set"
            raise BatchError(
                f"alias {alias!r} of {request.model} names no version; aliases: {set_aliases}; "
                "state one of them, or --version"
            )
        number = aliases[alias]
    version = registry.version(request.model, number)
    return BatchJob(
        version.model, version.number, version.digest, alias, files, request.chunk,
        request.copied, request.output,
    )  # fmt: skip


def _checked_schema(storage: Storage, job: BatchJob, version: Version) -> pa.Schema:
    """Return the columns of the first file; raise BatchError if a file lacks required columns."""
    schemas = [columns_of(storage, file) for file in job.files]
    for file, schema in zip(job.files, schemas, strict=True):
        require_columns(version.manifest, schema, file.name)
        if absent := [name for name in job.copied if name not in schema.names]:
            raise BatchError(f"{file.name}: --copy names column {absent[0]!r}, which is missing")
    return schemas[0]


def _check(
    request: BatchRequest, storage: Storage, files: list[InputFile], version: Version
) -> None:
    """Report rows outside the reference; raise BatchError if the request refuses them."""
    names = [feature.name for feature in version.manifest.features]
    tables = (table for file in files for table in read_tables(storage, file, names, request.chunk))
    report = check_tables(version, tables)
    if report.note:
        click.echo(f"check: {report.note}", err=True)
    worst = report.over(request.unseen)
    if worst and request.check == "refuse":
        listed = "\n  ".join(worst)
        raise BatchError(
            f"{request.source} differs from the reference of version {version.number}; nothing was "
            f"predicted:\n  {listed}\nraise --unseen, or use --check warn"
        )
    for line in worst:
        click.echo(f"check: {line}", err=True)
    if not worst:
        click.echo(f"check: {report.rows:,} rows agree with the reference", err=True)


def _require_output(request: BatchRequest, files: list[InputFile]) -> None:
    """Raise BatchError if the output's format is unknown or it would replace the input."""
    kind = suffix(request.output)
    if kind and kind not in FORMATS:
        raise BatchError(
            f"{request.output}: expected a name that ends in {' or '.join(FORMATS)}, or a folder"
        )
    remote = "://" in request.output
    if not remote and kind and Path(request.output).is_dir():
        raise BatchError(f"{request.output}: a folder has this name")
    if not remote and not kind and Path(request.output).is_file():
        raise BatchError(f"{request.output}: a file has this name; expected a folder")
    if request.output.rstrip("/") == request.source.rstrip("/") or (
        not remote and any(_same(request.output, file) for file in files)
    ):
        raise BatchError(f"{request.output}: the output would replace the input")


def _same(output: str, file: InputFile) -> bool:
    place = Path(output) if suffix(output) else Path(output) / file.name
    return place.exists() and Path(file.path).exists() and place.samefile(file.path)


def _folder(home: Home, output: str) -> Path:
    """Return the folder for the job's chunks, next to the output if it is on this machine."""
    if "://" in output:
        name = hashlib.sha256(output.encode()).hexdigest()[:16]
        return home.root / "batch" / name
    place = Path(os.path.abspath(output))  # noqa: PTH100 - does not resolve links
    return place.parent / f".{place.name}.unfinished"


def _total(storage: Storage, files: list[InputFile]) -> int | None:
    """Return the number of rows of all files, or None if a file does not store the number."""
    counts = [row_count(storage, file) for file in files]
    counts_read = [count for count in counts if count is not None]
    return sum(counts_read) if len(counts_read) == len(counts) else None
