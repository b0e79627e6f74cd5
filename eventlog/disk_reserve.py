"""Space held back on the log's disk, so that what was accepted before it filled up can be logged.

Everything that decides when a log is full lives here: it is full while the space cannot be held.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

_PAUSE = 1.0  # seconds between tries to hold the space again


class DiskReserve:
    """One file of real blocks that is given up when an append finds the disk full."""

    def __init__(self, path: Path, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Hold `size` bytes, if they are there; with 0 nothing is held and nothing is ever full."""
        self._path = path
        self._size = size
        self._clock = clock
        self._again = 0.0
        self._held = self._hold()

    def held(self) -> bool:
        """Whether the space is held, after another try where it was not; at most one a second."""
        if not self._held and self._clock() >= self._again:
            self._held = self._hold()
        return self._held

    def release(self) -> bool:
        """Let the disk have the space; whether there was any."""
        self._again = self._clock() + _PAUSE
        given = self._size > 0 and self._held
        self._held = self._size == 0
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        return given

    def _hold(self) -> bool:
        if not self._size:
            return True
        self._again = self._clock() + _PAUSE
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
