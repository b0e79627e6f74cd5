"""Reserve disk space, so that requests accepted before the disk filled up can still be logged.

While the reserve cannot be allocated, the log counts as full.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from eventlog.durable_files import open_private

_RETRY_S = 1.0  # seconds between attempts to allocate the space again


class DiskReserve:
    """A file of allocated blocks, which is deleted when an append finds the disk full."""

    def __init__(self, path: Path, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Allocate `size` bytes if the disk has enough space; 0 disables the reserve."""
        self._path = path
        self._size = size
        self._clock = clock
        self._retry_at = 0.0
        self._allocated = self._allocate()

    def is_allocated(self) -> bool:
        """Return whether the space is allocated; retry the allocation at most once per second."""
        if not self._allocated and self._clock() >= self._retry_at:
            self._allocated = self._allocate()
        return self._allocated

    def release(self) -> bool:
        """Delete the reserve; return whether this freed space."""
        self._retry_at = self._clock() + _RETRY_S
        released = self._size > 0 and self._allocated
        self._allocated = self._size == 0
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        return released

    def _allocate(self) -> bool:
        if not self._size:
            return True
        self._retry_at = self._clock() + _RETRY_S
        try:
            file = open_private(self._path)
        except OSError:
            return False
        try:
            os.posix_fallocate(file, 0, self._size)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        finally:
            os.close(file)
        return True
