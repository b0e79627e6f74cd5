"""Reports of the serving workers: the registry revision that each has applied, and its versions.

A worker locks a separate file while it runs, and replaces the report next to that file after each
revision that it applies. The kernel releases the lock when the process ends for any reason, so
readers never use the report of a dead worker.
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
    # Model -> requested version or alias ("" if none) -> number of the version that answers.
    serving: dict[str, dict[str, str]] = {}
    unready: dict[str, dict[str, str]] = {}  # model -> number -> reason why it is not loaded
    machine: str = ""  # host name; only in reports to other machines
    models: str = ""  # patterns of the models that the worker serves; empty for all models

    def about(self, chosen: Callable[[str], bool]) -> "WorkerReport":
        """Return the report with only the models for which `chosen` is True."""
        serving, unready = (
            {model: entries for model, entries in part.items() if chosen(model)}
            for part in (self.serving, self.unready)
        )
        return replace(self, serving=serving, unready=unready)

    def selects(self, model: str) -> bool:
        """Return whether the worker serves this model."""
        return selects(self.models, model)


def selects(patterns: str, model: str) -> bool:
    """Return whether a model matches patterns such as `team-a-*,fraud`; "" matches all models."""
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
        with suppress(OSError):  # on a full disk, a later report will be the first
            self.publish(WorkerReport())
        unlocked.rename(self._lock)  # readers see the file only after it is locked

    def publish(self, report: WorkerReport) -> None:
        """Replace the report of this worker; raises OSError."""
        draft = self._report.with_suffix(".part")
        draft.write_bytes(msgspec.json.encode(report))
        draft.rename(self._report)

    def close(self) -> None:
        """Remove the report."""
        self._lock.unlink(missing_ok=True)
        self._report.unlink(missing_ok=True)
        self._file.close()


def read_workers(folder: Path) -> list[WorkerReport]:
    """Return the reports of running workers; remove the reports of dead workers."""
    return list(_read(folder)) if folder.is_dir() else []


def _read(folder: Path) -> Iterator[WorkerReport]:
    for lock in sorted(folder.glob("*.lock")):
        report = lock.with_suffix(".json")
        try:
            if _is_running(lock):
                yield msgspec.json.decode(report.read_bytes(), type=WorkerReport)
            else:
                lock.unlink(missing_ok=True)
                report.unlink(missing_ok=True)
        except FileNotFoundError:  # the worker has just stopped
            continue


def _is_running(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
