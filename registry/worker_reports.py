"""What every serving worker has made of the registry so far, for whoever waits for them all.

A worker holds a lock on a file of its own for as long as it lives and replaces the report beside it
each time it has followed the registry. The kernel lets go of the lock however the process ends, so
no report outlives its worker for its readers.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec


class WorkerReport(msgspec.Struct, frozen=True):
    """One worker's state; empty while it starts."""

    revision: int = -1  # of the registry, up to which the worker has followed
    # model -> what a request asks for ("" where it asks for none) -> number of what answers
    serving: dict[str, dict[str, str]] = {}
    unready: dict[str, dict[str, str]] = {}  # model -> number -> why it is not loaded


class WorkerReportPublisher:
    """Where one worker reports; for as long as the process lives or until `close`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._report = folder / f"{name}.json"
        self._lock = folder / f"{name}.lock"
        unlocked = folder / f"{name}.new"
        self._file = unlocked.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.publish(WorkerReport())
        unlocked.rename(self._lock)  # seen by readers only now that it is locked

    def publish(self, report: WorkerReport) -> None:
        """Replace what is known of this worker."""
        aside = self._report.with_suffix(".part")
        aside.write_bytes(msgspec.json.encode(report))
        aside.rename(self._report)

    def close(self) -> None:
        """Take leave."""
        self._lock.unlink(missing_ok=True)
        self._report.unlink(missing_ok=True)
        self._file.close()


def read_workers(folder: Path) -> list[WorkerReport]:
    """The reports of the workers that live now; what dead ones left is removed."""
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
        except FileNotFoundError:  # it took leave meanwhile
            continue


def _lives(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
