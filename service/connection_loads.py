"""The number of connections of each worker, in memory that the workers share.

Every worker writes its own numbers alone, so no update is lost: how many connections it gave to
each worker, and how many of its own have ended. A worker's load is the sum of what it was given,
less what has ended.
"""

import mmap
import os
import struct
from pathlib import Path

from eventlog.durable_files import open_private

MOST_WORKERS = 32
_NUMBER = struct.Struct("<q")
_SIZE = (2 + MOST_WORKERS) * MOST_WORKERS * _NUMBER.size


class ConnectionLoads:
    """The loads of all workers, and the row of one of them."""

    def __init__(self, path: Path, worker: int) -> None:
        """Map the file; `worker` has been the number of no live process. Raises OSError."""
        self._worker = worker
        descriptor = open_private(path)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE)  # a page without a block could kill the worker
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._write(1, worker, self._passed(worker))  # what a predecessor held has ended
        self._write(0, worker, os.getpid())

    def live(self) -> dict[int, int]:
        """Return the process id of every worker that takes connections."""
        pids = {worker: self._read(0, worker) for worker in range(MOST_WORKERS)}
        return {worker: pid for worker, pid in pids.items() if pid}

    def load(self, worker: int) -> int:
        """Return the connections of a worker."""
        return max(0, self._passed(worker) - self._read(1, worker))

    def give(self, worker: int, number: int = 1) -> None:
        """Note a connection that this worker gives to another or to itself; -1 takes it back."""
        place = 2 + self._worker
        self._write(place, worker, self._read(place, worker) + number)

    def end(self) -> None:
        """Note the end of one of this worker's connections."""
        self._write(1, self._worker, self._read(1, self._worker) + 1)

    def retire(self, worker: int, pid: int) -> None:
        """Give a worker no more connections."""
        if self._read(0, worker) == pid:
            self._write(0, worker, 0)

    def _passed(self, worker: int) -> int:
        return sum(self._read(2 + giver, worker) for giver in range(MOST_WORKERS))

    def _read(self, row: int, column: int) -> int:
        place = (row * MOST_WORKERS + column) * _NUMBER.size
        number: int = _NUMBER.unpack_from(self._map, place)[0]
        return number

    def _write(self, row: int, column: int, number: int) -> None:
        place = (row * MOST_WORKERS + column) * _NUMBER.size
        self._map[place : place + _NUMBER.size] = _NUMBER.pack(number)
