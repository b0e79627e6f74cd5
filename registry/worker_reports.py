"""Reports of the serving workers: which registry revision each has applied, and what it serves.

A worker locks a file of its own while it runs, and replaces the report next to that file whenever
it has applied a revision. The kernel releases the lock however the process ends, so readers never
see the report of a dead worker.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec.structs import replace

from eventlog.durable_files import make_folder


class WorkerReport(msgspec.Struct, frozen=True):
    """The state of one worker; empty while it starts."""

    revision: int = -1  # latest registry revision that the worker has applied
    # model -> requested version or alias ("" for none) -> number of the version that serves it
    serving: dict[str, dict[str, str]] = {}
    unready: dict[str, dict[str, str]] = {}  # model -> number -> why it is not loaded
    machine: str = ""  # stated between machines
    models: str = ""  # patterns of the models that it serves; empty: every model

    def about(self, chosen: Callable[[str], bool]) -> "WorkerReport":
        """Return the report without the models that are not chosen."""
        serving, unready = (
            {model: entries for model, entries in part.items() if chosen(model)}
            for part in (self.serving, self.unready)
        )
        return replace(self, serving=serving, unready=unready)

    def selects(self, model: str) -> bool:
        """Return whether the worker serves a model at all."""
        return selects(self.models, model)


def selects(patterns: str, model: str) -> bool:
    """Return whether a model is one of `team-a-*,fraud`; "" selects every model."""
    selected = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    return not selected or any(fnmatchcase(model, pattern) for pattern in selected)


class WorkerReportPublisher:
    """Publish the reports of one worker until `close` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._report = folder / f"{name}.json"
        self._lock = folder / f"{name}.lock"
        unlocked = folder / f"{name}.new"
        self._file = unlocked.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with suppress(OSError):  # on a full disk, the next report is the first
            self.publish(WorkerReport())
        unlocked.rename(self._lock)  # seen by readers only now that it is locked

    def publish(self, report: WorkerReport) -> None:
        """Replace the report of this worker; raises OSError."""
        aside = self._report.with_suffix(".part")
        aside.write_bytes(msgspec.json.encode(report))
        aside.rename(self._report)

    def close(self) -> None:
        """Remove the report."""
        self._lock.unlink(missing_ok=True)
        self._report.unlink(missing_ok=True)
        self._file.close()


def read_workers(folder: Path) -> list[WorkerReport]:
    """Return the reports of running workers; remove those of dead ones."""
    return list(_read(folder)) if folder.is_dir() else []


def _read(folder: Path) -> Iterator[WorkerReport]:
    for lock in sorted(folder.glob("*.lock")):
        report = lock.with_suffix(".json")
        try:
            if _lives(lock):
                yield msgspec.json.decode(report.read_bytes(), type=WorkerReport)
            else:
                lock.unlink(missing_ok=True)
                report.unlink(missing_ok=True)
        except FileNotFoundError:  # the worker closed meanwhile
            continue


def _lives(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
