"""Memory that two processes share and that neither can shrink: a memfd with seals.

Its blocks are allocated before it is mapped, and its size is sealed, so that no process dies by
SIGBUS. Each direction has separate memory, which the reader maps read-only.
"""

import fcntl
import mmap
import os

_SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_SEAL_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE of <linux/fcntl.h>: only the writer's map can write
_SMALLEST = 64 << 10  # minimum size in bytes


class UnsealedMemory(ValueError):
    """A received descriptor is not memory with a sealed size."""


class WrittenMemory:
    """Memory that this process writes and another process reads."""

    def __init__(self, size: int) -> None:
        """Allocate at least `size` bytes; raises OSError if the system has too little memory."""
        self.size = max(_SMALLEST, 1 << (size - 1).bit_length())
        self.descriptor = os.memfd_create("driftline", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(self.descriptor, 0, self.size)
            self._map = mmap.mmap(self.descriptor, self.size)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SIZE_SEALS | _SEAL_FUTURE_WRITE)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.buffer = memoryview(self._map)

    def close(self) -> None:
        """Unmap the memory in this process."""
        os.close(self.descriptor)
        self.buffer.release()
        self._map.close()


class ReadMemory:
    """Memory that another process writes."""

    def __init__(self, descriptor: int) -> None:
        """Map a received descriptor and close it; raises UnsealedMemory if its size can change."""
        try:
            try:
                seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
            except OSError:
                raise UnsealedMemory("the descriptor is not a memfd") from None
            if seals & _SIZE_SEALS != _SIZE_SEALS:
                raise UnsealedMemory(f"the memory's size is not sealed (seals {seals:#x})")
            size = os.fstat(descriptor).st_size
            if size == 0:
                raise UnsealedMemory("the memory is empty")
            self._map = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self.buffer = memoryview(self._map)

    @property
    def size(self) -> int:
        """The size of the memory in bytes."""
        return len(self.buffer)
