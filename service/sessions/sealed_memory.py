"""Memory that two processes share and neither can shrink: a memfd with seals.

Its blocks are allocated before it is mapped and its size is sealed, so that no process dies by
SIGBUS. Each direction has a memory of its own. The reader maps it without the right to write.
"""

import fcntl
import mmap
import os

_SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_SEAL_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE of <linux/fcntl.h>: existing mappings may write
_SMALLEST = 64 << 10


class UnsealedMemory(ValueError):
    """A received descriptor is not memory of a sealed size."""


class WrittenMemory:
    """A memory that this process writes and another one reads."""

    def __init__(self, size: int) -> None:
        """Allocate at least `size` bytes; raises OSError if the system has not so much."""
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
        """Unmap it in this process."""
        os.close(self.descriptor)
        self.buffer.release()
        self._map.close()


class ReadMemory:
    """A memory that another process writes; the descriptor belongs to this object."""

    def __init__(self, descriptor: int) -> None:
        """Map a received descriptor; raises UnsealedMemory if its size may change."""
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
        """Bytes of the memory."""
        return len(self.buffer)
