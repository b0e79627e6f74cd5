"""The number of open connections of each worker, in a file that all workers map into memory.

Each worker writes only its own counters, so no update is lost. It counts the connections that it
has assigned to each worker, and the connections of its own that have ended. A worker's load is the
number of connections assigned to it by all workers, minus the number that have ended.
"""

import mmap
import os
import struct
from pathlib import Path

from eventlog.durable_files import open_private

# The file is a table with a column for each worker. Row 0: process ids, 0 for a worker that accepts
# no connections. Row 1: numbers of ended connections. Row 2 + n: numbers of connections that
# worker n has assigned.
MOST_WORKERS = 32
_NUMBER = struct.Struct("<q")
_SIZE = (2 + MOST_WORKERS) * MOST_WORKERS * _NUMBER.size


class ConnectionLoads:
    """The loads of all workers; this process writes the counters of one worker."""

    def __init__(self, path: Path, worker: int) -> None:
        """Map the file; no other live process may use the number `worker`. Raises OSError."""
        self._worker = worker
        descriptor = open_private(path)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE)  # a write without a block kills the worker
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._write(1, worker, self._assigned(worker))  # a predecessor's connections have ended
        self._write(0, worker, os.getpid())

    def live(self) -> dict[int, int]:
        """Return the process ids of the workers that accept connections, by worker."""
        pids = {worker: self._read(0, worker) for worker in range(MOST_WORKERS)}
        return {worker: pid for worker, pid in pids.items() if pid}

    def load(self, worker: int) -> int:
        """Return the number of a worker's open connections."""
        return max(0, self._assigned(worker) - self._read(1, worker))

    def assign(self, worker: int, number: int = 1) -> None:
        """Count a connection that this worker assigns to a worker; -1 reverts an assignment."""
        row = 2 + self._worker
        self._write(row, worker, self._read(row, worker) + number)

    def end(self) -> None:
        """Count the end of one of this worker's connections."""
        self._write(1, self._worker, self._read(1, self._worker) + 1)

    def retire(self, worker: int, pid: int) -> None:
        """Exclude a worker from `live`, so that it gets no more connections."""
        if self._read(0, worker) == pid:
            self._write(0, worker, 0)

    def _assigned(self, worker: int) -> int:
        return sum(self._read(2 + assigner, worker) for assigner in range(MOST_WORKERS))

    def _read(self, row: int, column: int) -> int:
        offset = (row * MOST_WORKERS + column) * _NUMBER.size
        number: int = _NUMBER.unpack_from(self._map, offset)[0]
        return number

    def _write(self, row: int, column: int, number: int) -> None:
        offset = (row * MOST_WORKERS + column) * _NUMBER.size
        self._map[offset : offset + _NUMBER.size] = _NUMBER.pack(number)
