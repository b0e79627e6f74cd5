"""The contents of a backup: a home of Driftline, and a record of its files.

<backup>/backup.json             sizes and hashes of all other files; written last
<backup>/log/, registry.db, ...  the same names as in DRIFTLINE_HOME
<backup>/bentoml/models/         the files of every version
<backup>/monitor.pgdump          instead of monitor.db, if the monitor uses PostgreSQL
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from eventlog.errors import DriftlineError
from registry.stored_files import hash_file

RECORD = "backup.json"
MODELS = "bentoml/models"
POSTGRES_DUMP = "monitor.pgdump"
FORMAT = 1


class BackupFault(DriftlineError):
    """A backup that cannot be taken, verified or restored."""


class StoredFile(msgspec.Struct, frozen=True):
    """One file of a backup."""

    bytes: int
    sha256: str


class BackupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a backup; `files` has a key for each path relative to the backup's folder."""

    format: int
    release: str
    time: str  # time at which the backup began, ISO 8601, UTC
    revision: int  # revision of the registry's history
    head: str  # chain hash of that revision
    shared_registry: bool  # the history came from a database that machines share
    events: int  # number of readable events in the log
    faults: list[str] = []  # files that were already damaged when they were copied
    files: dict[str, StoredFile]


def describe_file(path: Path) -> StoredFile:
    """Return the size and hash of a file; raises OSError."""
    return StoredFile(path.stat().st_size, hash_file(path))


def files_below(folder: Path) -> Iterator[str]:
    """Yield the relative path of every file below a folder, except of `backup.json`."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and name != RECORD:
            yield name


def read_verified(folder: Path) -> BackupRecord:
    """Read the record of a backup and compare every file with it; raises BackupFault."""
    record = _read_record(folder)
    present = set(files_below(folder))
    if missing := sorted(record.files.keys() - present):
        raise BackupFault(f"{folder}: {missing[0]} is missing; take another backup")
    if added := sorted(present - record.files.keys()):
        raise BackupFault(f"{folder}: {added[0]} is not in {RECORD}; remove it")
    for name, expected in record.files.items():
        if describe_file(folder / name) != expected:
            raise BackupFault(f"{folder}: {name} was changed after the backup; take another backup")
    return record


def _read_record(folder: Path) -> BackupRecord:
    path = folder / RECORD
    try:
        version = msgspec.json.decode(path.read_bytes(), type=_Version).format
        if version != FORMAT:
            raise BackupFault(
                f"{path}: format {version}, this release reads format {FORMAT}; "
                "restore it with the release that wrote it"
            )
        return msgspec.json.decode(path.read_bytes(), type=BackupRecord)
    except FileNotFoundError:
        raise BackupFault(f"{folder} is not a backup: it has no {RECORD}") from None
    except msgspec.DecodeError as error:
        raise BackupFault(f"{path} cannot be read: {error}") from None


class _Version(msgspec.Struct):
    format: int
