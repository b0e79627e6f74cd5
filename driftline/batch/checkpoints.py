"""The folder of a job under way: what it is about, and one file for each finished chunk.

    <folder>/job.json              what runs on what; a job of the same content is resumed
    <folder>/lock                  held by the process that runs it
    <folder>/writers.json          sources and epochs of the log that its processes wrote
    <folder>/<file>-<chunk>.arrow  rows of one finished chunk, with its rejects

Chunks are finished in order, so the files of an input are those of its first chunks.
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
    """The inputs of a job. Equal jobs have equal outputs, so one continues the other."""

    model: str
    version: str
    digest: str
    alias: str
    files: list[InputFile]
    chunk: int
    copied: list[str]
    output: str

    @property
    def id(self) -> str:
        """The beginning of its prediction ids: the same for the same rows and version."""
        about = [self.digest, [(f.name, f.size, f.modified) for f in self.files], self.chunk]
        digest = hashlib.blake2b(msgspec.json.encode(about), digest_size=6).hexdigest()
        return f"{tag_of(self.model)}-{digest}"


class Writer(msgspec.Struct, frozen=True):
    """The place where a process of the job writes its events."""

    source: str
    epoch: int


class FinishedChunk(msgspec.Struct, frozen=True):
    """The output of one chunk."""

    table: pa.Table
    rejects: Rejects


class Checkpoints:
    """The folder of one job; one process at a time has it."""

    def __init__(self, folder: Path) -> None:
        """Raise AlreadyRunning if another process has the folder."""
        make_folder(folder)
        self._folder = folder
        self._lock = ProcessLock(
            folder / "lock", "batch job", remedy="await its end, or state another output"
        )
        self._removed = False

    def begin(self, job: BatchJob, *, restart: bool = False) -> BatchJob:
        """Return the job to run: the one found here if it is of the same rows, else this one.

        The version of an unfinished job holds, although the alias may name another one by now.
        Raises BatchError for an unfinished job of something else.
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
                f"{self._folder} holds an unfinished job of {recorded_job.model} version "
                f"{recorded_job.version} on {len(recorded_job.files)} file(s), chunk "
                f"{recorded_job.chunk}, and files or options differ; expected the same, or "
                "--restart to begin again"
            )
        self._clear()
        replace_file(self._folder / "job.json", msgspec.json.encode(job))
        return job

    def add_writer(self, writer: Writer) -> list[Writer]:
        """Record the log to which events are written from now on; return the earlier ones."""
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
        """Return the place of a draft of an output."""
        return self._folder / name

    def close(self) -> None:
        """Release the folder to other processes; delete it unless the job has begun."""
        if not self._removed and not (self._folder / "writers.json").exists():
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def remove(self) -> None:
        """Delete the folder: the job is done."""
        (self._folder / "job.json").unlink()  # first: a crash must leave no readable job
        shutil.rmtree(self._folder, ignore_errors=True)
        self._removed = True  # the next process may have created it again
        sync_folder(self._folder.parent)

    def _job(self) -> BatchJob | None:
        try:
            return msgspec.json.decode((self._folder / "job.json").read_bytes(), type=BatchJob)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise BatchError(
                f"{self._folder / 'job.json'} cannot be read: {error}; expected --restart"
            ) from None

    def _clear(self) -> None:
        for path in self._folder.iterdir():
            if path.name != "lock":
                path.unlink()

    def _place(self, file: int, chunk: int) -> Path:
        return self._folder / f"{file:05d}-{chunk:08d}.arrow"
