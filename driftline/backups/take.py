"""Take a backup of a home while its processes run.

The order of copying makes every reference valid. Positions and the monitor's database refer to the
log, so they are copied before it. Predictions refer to versions, so the log is copied before the
registry. A restored home is in the same state as a home whose processes were killed at the time of
the backup, and every start handles that state.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from access.keyfile import KeyFile
from driftline.backups.contents import (
    FORMAT,
    MODELS,
    POSTGRES_DUMP,
    RECORD,
    BackupFault,
    BackupRecord,
    describe_file,
    files_below,
)
from driftline.backups.postgres_dump import dump_database
from eventlog.answer_counts import ANSWERED
from eventlog.durable_files import make_folder, replace_file, sync_tree
from eventlog.event_times import TIMES
from eventlog.layout import segments, sources
from eventlog.process_lock import try_lock
from eventlog.settings import Home
from eventlog.verification import verify
from monitoring.settings import database_address
from registry.history.audit import chain_faults
from registry.history.store import History
from registry.settings import audit_key, is_shared, open_history
from registry.store import Registry, store_folder
from telemetry.release import release

# Attributes of `Home`, in the order of copying. `COPIED` and `LEFT_OUT` name all parts of a home.
_POSITIONS = ("cursors", "consumed", "shadows", "approval_webhooks")
_DATABASES = ("dead_letters", "monitor")
_FOLDERS = ("baselines", "gate_reports", "comparisons", "reports")
OTHER_PARTS = ("log", "registry", "keys", "audit_key")  # each copied by a separate function
# Not copied, because processes re-create these parts: counts, caches, reports of running processes,
# unfinished work.
LEFT_OUT = (
    "segment_counts", "registry_copy", "workers", "exits", "gate_run", "rollouts", "uploads",
)  # fmt: skip
COPIED = (*_POSITIONS, *_DATABASES, *_FOLDERS, *OTHER_PARTS)
_SINGLE_FILES = ("driftline.toml", "prediction-id-secrets")


def take_backup(home: Home, target: Path) -> BackupRecord:
    """Copy a home to a new folder and verify the copy.

    The copy is renamed to `target` when it is complete. Raises BackupFault, or OSError if the disk
    is full.
    """
    if target.exists():
        raise BackupFault(f"{target} exists: a backup needs a new folder")
    if not home.root.is_dir():
        raise BackupFault(f"{home.root} does not exist; DRIFTLINE_HOME names the home to copy")
    if target.absolute().is_relative_to(home.root):
        raise BackupFault(f"{target} is inside the home {home.root}: choose another folder")
    part = target.with_name(f"{target.name}.part")
    with _locked(target):
        shutil.rmtree(part, ignore_errors=True)  # left by a killed backup
        make_folder(part)
        try:
            record = _copy_home(home, part)
            replace_file(part / RECORD, msgspec.json.format(msgspec.json.encode(record)))
            sync_tree(part)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return record


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold a lock file next to the backup, so that only one process writes it."""
    make_folder(target.parent)
    path = target.with_name(f"{target.name}.lock")
    lock = try_lock(path)
    if lock is None:
        raise BackupFault(f"{target} is being written by another backup: choose another folder")
    try:
        if os.fstat(lock).st_nlink == 0 or target.exists():  # another backup ended meanwhile
            raise BackupFault(f"{target} was written by another backup: choose another folder")
        try:
            yield
        finally:
            path.unlink()
    finally:
        os.close(lock)


def _copy_home(home: Home, part: Path) -> BackupRecord:
    begin = datetime.now(UTC).isoformat(timespec="seconds")
    copy = Home(part)
    # The log is copied twice. The first pass saves segments that retention may delete soon. The
    # second pass adds the events that the databases have read since.
    _copy_log(home.log, copy.log)
    for name in _POSITIONS:
        _copy_file(getattr(home, name), getattr(copy, name))
    for name in _DATABASES:
        _copy_database(getattr(home, name), getattr(copy, name))
    if isinstance(address := database_address(home), str):
        dump_database(address, part / POSTGRES_DUMP)
    _copy_log(home.log, copy.log)
    history, faults = _copy_registry(home, copy)
    for name in _FOLDERS:
        _copy_folder(getattr(home, name), getattr(copy, name))
    _copy_file(KeyFile.of(home).path, copy.keys)
    _copy_file(audit_key(home), copy.audit_key)
    for name in _SINGLE_FILES:
        _copy_file(home.root / name, part / name)
    findings = verify(copy.log) if copy.log.exists() else []
    faults += [f"log: source {source.source} has damaged or missing events" for source in findings
               if source.unreadable or source.missing or source.gaps_by_shard]  # fmt: skip
    revision, head = history.head()
    history.close()
    return BackupRecord(
        format=FORMAT,
        release=release(),
        time=begin,
        revision=revision,
        head=head,
        shared_registry=is_shared(),
        events=sum(source.events for source in findings),
        faults=faults,
        files={name: describe_file(part / name) for name in files_below(part)},
    )


def _copy_registry(home: Home, copy: Home) -> tuple[History, list[str]]:
    """Copy the history, then the folders of its versions; return the copy and its faults."""
    history, faults = History(copy.registry), []
    with closing(open_history(home, direct=True)) as source:
        source.copy_to(history)
    faults += [f"registry: {fault}" for fault in chain_faults(history.all_rows())]
    registry, stored = Registry(home), store_folder(home)
    for model in sorted(history.models()):
        state = registry.state(model)
        if state.remote:
            for number in sorted(state.remote):
                registry.version(model, number)  # downloads the version's files
            state = registry.state(model)
        faults += [f"registry: {text}" for text in state.damaged.values()]
        for version in state.versions:
            _copy_folder(Path(version.path), copy.root / MODELS / model / Path(version.path).name)
        _copy_file(stored / model / "latest", copy.root / MODELS / model / "latest")
    return history, faults


def _copy_log(log: Path, copy: Path) -> None:
    """Add the new bytes of a log to its copy: log files only grow until retention deletes them."""
    _copy_file(log / "identity", copy / "identity")
    for source in sources(log):
        folder = copy / source.name
        make_folder(folder)
        (folder / "lock").touch(0o600)
        # Copied before the segments, so that the copy counts no answer without an event.
        _copy_file(source / ANSWERED, folder / ANSWERED)
        for segment in segments(source):
            _append_missing(segment.path, folder / segment.path.name)
        for mark in (*source.glob("*.end"), *source.glob(f"*{TIMES}")):
            _copy_file(mark, folder / mark.name)


def _append_missing(source: Path, copy: Path) -> None:
    """Append to a copy the bytes by which its source is longer."""
    try:
        with source.open("rb") as read, copy.open("ab") as written:
            read.seek(written.tell())
            shutil.copyfileobj(read, written, 1 << 20)
    except FileNotFoundError:  # deleted by retention
        return


def _copy_database(source: Path, copy: Path) -> None:
    """Copy a consistent snapshot of an SQLite database; writers wait meanwhile."""
    if not source.exists():
        return
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as read,
            closing(sqlite3.connect(copy)) as written,
        ):
            read.backup(written)
            result = written.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise BackupFault(f"{source} cannot be copied: {error}") from None
    if result != "ok":
        raise BackupFault(f"{source} is damaged: {result}; restore an earlier backup")
    copy.chmod(0o600)


def _copy_folder(source: Path, copy: Path) -> None:
    """Copy a folder; files that disappear meanwhile are left out."""
    for name in files_below(source) if source.is_dir() else ():
        _copy_file(source / name, copy / name)


def _copy_file(source: Path, copy: Path) -> None:
    """Copy a file, readable only by this user; skip a missing file or a draft (`.new`)."""
    if source.suffix == ".new":
        return
    make_folder(copy.parent)
    try:
        shutil.copyfile(source, copy, follow_symlinks=False)
        copy.chmod(0o600)
    except FileNotFoundError:
        copy.unlink(missing_ok=True)
