"""Lock files while a process runs: one writer per source, one process per role.

The kernel releases a lock when its process ends, so a crash needs no cleanup. Descriptors are
closed on exec, so a child never has its parent's lock. Locks also work on NFS 4, and between
containers that share a volume on one machine.
"""

import fcntl
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from eventlog.durable_files import make_folder, open_private
from eventlog.errors import AlreadyRunning, SettingError
from telemetry.release import release

_LONGEST_CONTENT = 4096  # bytes read from a lock file
_ONE_PER_HOME = (
    "expected only one per home: stop that process first, or set DRIFTLINE_HOME to another folder"
)


def try_lock(path: Path) -> int | None:
    """Create and lock a file; return its descriptor, or None if another process has the lock.

    Closing the descriptor releases the lock. Raises OSError if the file cannot be opened.
    """
    descriptor = open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Holder(msgspec.Struct, frozen=True):
    """The process that has a lock; the content of the lock file."""

    role: str
    pid: int
    host: str
    started: datetime
    release: str = ""  # release of Driftline; empty for releases up to 0.2.0

    @classmethod
    def this_process(cls, role: str) -> Self:
        """Return the description of this process, with the current time as its start."""
        now = datetime.now(UTC).replace(microsecond=0)
        return cls(role, os.getpid(), socket.gethostname(), now, release())

    @property
    def is_this_process(self) -> bool:
        """Return whether this process has the lock."""
        return (self.pid, self.host) == (os.getpid(), socket.gethostname())

    def __str__(self) -> str:
        place = "" if self.host == socket.gethostname() else f" on host {self.host}"
        return f"pid {self.pid}{place}, since {self.started:%Y-%m-%d %H:%M:%S} UTC"


class ProcessLock:
    """The lock of a role, until `close` or the end of the process."""

    def __init__(self, path: Path, role: str, *, remedy: str = _ONE_PER_HOME) -> None:
        """Acquire the lock and write this process into the file.

        Raises AlreadyRunning with pid and role of the other process, followed by `remedy`, or
        SettingError if the file cannot be written.
        """
        try:
            make_folder(path.parent)
            descriptor = try_lock(path)
            if descriptor is None:
                raise _already_running(path, role, remedy)
            self._descriptor = descriptor
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(Holder.this_process(role)) + b"\n", 0)
        except OSError as error:
            raise SettingError(f"{path} cannot be locked: {error.strerror}") from None

    def close(self) -> None:
        """Release the lock and empty the file.

        The file is not deleted, because two processes could then lock different files of one name.
        """
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_unlocked(path: Path, role: str) -> None:
    """Raise AlreadyRunning if a process has the lock."""
    if path.exists():
        ProcessLock(path, role).close()


def holder(path: Path) -> Holder | None:
    """Return the process that has the lock, or None; the file is not changed."""
    process = _holder(path)
    if process is None:  # the file is empty after `close`
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return process
    finally:
        os.close(descriptor)
    return None


def _already_running(path: Path, role: str, remedy: str) -> AlreadyRunning:
    holder = _holder(path)
    return AlreadyRunning(
        f"{path.parent}: a {holder.role if holder else role} is already running "
        f"({holder or 'pid unknown'}); {remedy}"
    )


def _holder(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes()[:_LONGEST_CONTENT], type=Holder)
    except (OSError, msgspec.DecodeError):
        return None  # the process has just acquired the lock, or runs an earlier release
