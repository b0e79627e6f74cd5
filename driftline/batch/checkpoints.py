"""The folder of an unfinished job: its description, and one file for each finished chunk.

    <folder>/job.json              version, inputs and options; an equal job resumes this job
    <folder>/lock                  locked by the process that runs the job
    <folder>/writers.json          log sources and epochs that the job's processes have written
    <folder>/<file>-<chunk>.arrow  rows of one finished chunk, with its rejects

The chunks of an input file finish in order.
"""

import hashlib
import shutil
from pathlib import Path

import msgspec
import pyarrow as pa

from driftline.batch.errors import BatchError
from driftline.batch.rows import Rejects
from driftline.batch.storage import InputFile
from eventlog.durable_files import make_folder, replace_file, sync_folder
from eventlog.process_lock import ProcessLock
from eventlog.shards import tag_of

_REJECTS = b"rejects"


class BatchJob(msgspec.Struct, frozen=True):
    """The version, inputs and options of a job; jobs that are equal here have equal outputs."""

    model: str
    version: str
    digest: str
    alias: str
    files: list[InputFile]
    chunk: int  # number of rows per chunk
    copied: list[str]  # input columns that the output repeats
    output: str  # path or URL

    @property
    def id(self) -> str:
        """The first part of the job's prediction ids, equal for equal rows and version."""
        about = [self.digest, [(f.name, f.size, f.modified) for f in self.files], self.chunk]
        digest = hashlib.blake2b(msgspec.json.encode(about), digest_size=6).hexdigest()
        return f"{tag_of(self.model)}-{digest}"


class Writer(msgspec.Struct, frozen=True):
    """The log source and epoch to which a process of the job writes its events."""

    source: str
    epoch: int


class FinishedChunk(msgspec.Struct, frozen=True):
    """The output and rejected rows of one chunk."""

    table: pa.Table
    rejects: Rejects


class Checkpoints:
    """The folder of one job, used by one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder; raises AlreadyRunning if another process uses it."""
        make_folder(folder)
        self._folder = folder
        self._lock = ProcessLock(
            folder / "lock", "batch job", remedy="wait until it ends, or state another output"
        )
        self._removed = False

    def begin(self, job: BatchJob, *, restart: bool = False) -> BatchJob:
        """Return the job to run: the unfinished job of this folder if it matches, else `job`.

        An unfinished job continues with its version, even if the alias names a different version
        now. Raises BatchError if the unfinished job has different files or options.
        """
        recorded_job = None if restart else self._job()
        if recorded_job is not None:
            resumed = msgspec.structs.replace(
                job,
                version=recorded_job.version,
                digest=recorded_job.digest,
                alias=recorded_job.alias,
            )
            same_version = (
                job.alias == recorded_job.alias
                if job.alias
                else job.version == recorded_job.version
            )
            if resumed == recorded_job and same_version:
                return recorded_job
            raise BatchError(
                f"{self._folder} contains an unfinished job of {recorded_job.model} version "
                f"{recorded_job.version} on {len(recorded_job.files)} file(s), chunk "
                f"{recorded_job.chunk}, with different files or options; state the same files and "
                "options, or --restart to start again"
            )
        self._clear()
        replace_file(self._folder / "job.json", msgspec.json.encode(job))
        return job

    def add_writer(self, writer: Writer) -> list[Writer]:
        """Record this process's log source; return the sources of earlier processes."""
        path = self._folder / "writers.json"
        earlier: list[Writer] = []
        if path.exists():
            earlier = msgspec.json.decode(path.read_bytes(), type=list[Writer])
        replace_file(path, msgspec.json.encode([*earlier, writer]))
        return earlier

    def finished(self, file: int) -> int:
        """Return the number of finished chunks of a file."""
        count = 0
        while self._place(file, count).exists():
            count += 1
        return count

    def write(self, file: int, chunk: int, finished: FinishedChunk) -> None:
        """Store a finished chunk atomically."""
        reasons = msgspec.json.encode({str(row): why for row, why in finished.rejects.items()})
        table = finished.table.replace_schema_metadata({_REJECTS: reasons})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        replace_file(self._place(file, chunk), sink.getvalue())

    def read(self, file: int, chunk: int) -> FinishedChunk:
        """Return a finished chunk."""
        with pa.memory_map(str(self._place(file, chunk))) as source:
            table = pa.ipc.open_file(source).read_all()
        reasons = msgspec.json.decode(table.schema.metadata[_REJECTS], type=dict[str, str])
        rejects = {int(row): why for row, why in reasons.items()}
        return FinishedChunk(table.replace_schema_metadata(None), rejects)

    def path(self, name: str) -> Path:
        """Return the path for the draft of an output file."""
        return self._folder / name

    def close(self) -> None:
        """Unlock the folder, and delete it if the job has not started."""
        if not self._removed and not (self._folder / "writers.json").exists():
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def remove(self) -> None:
        """Delete the folder after the end of the job."""
        (self._folder / "job.json").unlink()  # first, so that a crash leaves no job to resume
        shutil.rmtree(self._folder, ignore_errors=True)
        self._removed = True  # close() must not delete the folder of a later process
        sync_folder(self._folder.parent)

    def _job(self) -> BatchJob | None:
        try:
            return msgspec.json.decode((self._folder / "job.json").read_bytes(), type=BatchJob)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise BatchError(
                f"{self._folder / 'job.json'} cannot be read: {error}; use --restart"
            ) from None

    def _clear(self) -> None:
        for path in self._folder.iterdir():
            if path.name != "lock":
                path.unlink()

    def _place(self, file: int, chunk: int) -> Path:
        return self._folder / f"{file:05d}-{chunk:08d}.arrow"
