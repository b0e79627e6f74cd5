"""Metric files whose disk blocks are allocated before they are mapped.

prometheus-client maps sparse files. If the disk is full, writing to a page without a block kills
the process by SIGBUS. Here, a file grows only if blocks can be allocated. Otherwise, its values
stay in memory, and scrapes see the last values in the file.
"""

import mmap
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from eventlog.durable_files import open_private

_INITIAL = 1 << 16  # initial size of a file in bytes, the same as in prometheus-client
_RETRY_S = 1.0  # seconds between attempts to allocate blocks


class AllocatedDict(MmapedDict):
    """A dict of doubles in a file with allocated blocks, or in memory if the disk is full."""

    _f: Any  # open file, or None
    _m: Any  # mapping of the file, or memory

    def __init__(
        self, filename: str, clock: Callable[[], float] = time.monotonic, *, size: int = _INITIAL
    ) -> None:
        """Open the file, or create it with `size` bytes."""
        self._path = Path(filename)
        self._clock = clock
        self._retry_at = 0.0
        self._initial = size
        if _allocate(self._path, size):
            self._attached = True
            super().__init__(filename)  # type: ignore[no-untyped-call]
            return
        if self._path.exists() and not self._path.stat().st_size:
            self._path.unlink()  # a scrape cannot read an empty file
        self._attached = False
        self._f = None
        self._fname = filename
        self._capacity = size
        self._m = mmap.mmap(-1, size)
        self._used = 8
        self._m[:4] = self._used.to_bytes(4, "little")
        self._positions: dict[str, int] = {}

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set a value; if the values are in memory, try to move them to the file."""
        if not self._attached and self._clock() >= self._retry_at:
            self._attach()
        super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        longest = len(key.encode()) + 32  # including length, padding, value and timestamp
        if self._used + longest > self._capacity:
            self._grow(longest)
        # The inherited method would enlarge a file that is too small, without allocating blocks.
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, needed: int) -> None:
        capacity = self._capacity
        while self._used + needed > capacity:
            capacity *= 2
        if self._attached and _allocate(self._path, capacity):
            self._m = mmap.mmap(self._f.fileno(), capacity)
        else:
            self._detach(capacity)
        self._capacity = capacity

    def _detach(self, capacity: int) -> None:
        memory = mmap.mmap(-1, capacity)
        memory[: self._used] = self._m[: self._used]
        self._m, self._attached = memory, False
        self._retry_at = self._clock() + _RETRY_S

    def _attach(self) -> None:
        self._retry_at = self._clock() + _RETRY_S
        if not _allocate(self._path, self._capacity):
            if self._path.exists() and not self._path.stat().st_size:
                self._path.unlink()
            return
        if self._f is None:
            self._f = self._path.open("a+b")
        mapped = mmap.mmap(self._f.fileno(), self._capacity)
        mapped[8 : self._used] = self._m[8 : self._used]
        mapped[:8] = self._m[:8]  # the length is last, so that a scrape sees old or new values
        self._m, self._attached = mapped, True

    def close(self) -> None:
        """Close the file and unmap the memory."""
        if self._m is not None:
            self._m.close()
            self._m = None
        if self._f is not None:
            self._f.close()
            self._f = None


def install() -> None:
    """Make prometheus-client use AllocatedDict; call this before the first metric is created."""
    values.MmapedDict = AllocatedDict  # type: ignore[attr-defined]


def _allocate(path: Path, size: int) -> bool:
    """Enlarge a file to `size` bytes with allocated blocks; return whether this succeeded."""
    try:
        descriptor = open_private(path)
    except OSError:
        return False
    before = os.fstat(descriptor).st_size
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        with suppress(OSError):  # the file may have grown without blocks
            os.ftruncate(descriptor, before)
        return False
    finally:
        os.close(descriptor)
    return True
