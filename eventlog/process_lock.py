"""Locks on files that processes hold for life: one writer per source, one process per role.

The kernel releases a lock however its process ends, so nothing has to be cleaned up after a crash.
A descriptor is closed in child processes as they start their program: a child never holds the lock
of its parent. Works between containers of one machine that share a volume, and on NFS 4.
"""

import fcntl
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from eventlog.errors import AlreadyRunning, SettingError

_LONGEST_CONTENT = 4096  # bytes


def try_lock(path: Path, mode: int = 0o600) -> int | None:
    """Lock the file, which is created if need be; its descriptor, None if another process has it.

    Closing the descriptor releases the lock. Raises OSError where the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
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
    """The content of a lock file: which process holds the lock."""

    role: str
    pid: int
    host: str
    started: datetime

    @classmethod
    def this_process(cls, role: str) -> Self:
        """Describe this process; `started` is now."""
        return cls(
            role, os.getpid(), socket.gethostname(), datetime.now(UTC).replace(microsecond=0)
        )

    def __str__(self) -> str:
        place = "" if self.host == socket.gethostname() else f" on host {self.host}"
        return f"pid {self.pid}{place}, since {self.started:%Y-%m-%d %H:%M:%S} UTC"


class ProcessLock:
    """The lock of the one process of a role; as long as the process lives or until `close`."""

    def __init__(self, path: Path, role: str) -> None:
        """Take the lock and write who holds it.

        Raises AlreadyRunning with pid and role of the other process, SettingError where the file
        cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = try_lock(path, 0o644)
            if descriptor is None:
                raise _already_running(path, role)
            self._descriptor = descriptor
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(Holder.this_process(role)) + b"\n", 0)
        except OSError as error:
            raise SettingError(f"{path} cannot be locked: {error.strerror}") from None

    def close(self) -> None:
        """Release the lock; the file stays, empty, since removing it would let two processes in."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_unlocked(path: Path, role: str) -> None:
    """Raise AlreadyRunning where a process holds the lock now."""
    if path.exists():
        ProcessLock(path, role).close()


def _already_running(path: Path, role: str) -> AlreadyRunning:
    holder = _holder(path)
    return AlreadyRunning(
        f"{path.parent}: a {holder.role if holder else role} is running already "
        f"({holder or 'pid unknown'}); expected one per home: stop that process first, or set "
        "DRIFTLINE_HOME to another folder"
    )


def _holder(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes()[:_LONGEST_CONTENT], type=Holder)
    except (OSError, msgspec.DecodeError):
        return None  # it has only just taken the lock, or is of an earlier release
