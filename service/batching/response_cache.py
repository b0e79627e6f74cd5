"""Cache responses to requests with equal inputs, bounded in bytes.

One cache per version and worker. An entry holds all outputs of a run. Requested outputs, encodings,
ids, deadlines and event times do not change them, so the input values and the caller make the key:
a hit that another caller's request brought would show what others ask.
"""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b

import msgspec
import numpy as np

from service.batching.merge import Array, Arrays

ENTRY_OVERHEAD = 512  # bytes that an entry takes beside its values, about

Outputs = Mapping[str, Array]


class ResponseCache:
    """Evicts the least recently used entry first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, tuple[Outputs, int]] = OrderedDict()
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Outputs | None:
        """Return the outputs of a key, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, outputs: Outputs) -> None:
        """Store outputs, unless they alone exceed the cache's size."""
        size = ENTRY_OVERHEAD + sum(map(_bytes, outputs.values()))
        if size > self._max_bytes or key in self._entries:
            return
        # Copies: the outputs are slices, which would keep the whole of their batch.
        copies = {name: array.copy() for name, array in outputs.items()}
        self._entries[key] = copies, size
        self.size += size
        self._shrink()

    def resize(self, max_bytes: int) -> None:
        """Set the size limit; evict what exceeds it."""
        self._max_bytes = max_bytes
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self._max_bytes:
            _, (_, size) = self._entries.popitem(last=False)
            self.size -= size


def key_of(inputs: Arrays, caller: bytes = b"") -> bytes:
    """Return a digest of caller and input values, independent of encoding and order.

    Datatypes belong to the version and are not part of it. Values are compared by their bits: 0.0
    and -0.0 differ.
    """
    digest = blake2b(b"%d " % len(caller) + caller, digest_size=32)
    for name in sorted(inputs):
        array = inputs[name]
        digest.update(f"{name}{array.shape}".encode())
        if array.dtype == object:  # texts, each with its length
            digest.update(msgspec.msgpack.encode(array.ravel().tolist()))
        else:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def _bytes(array: Array) -> int:
    if array.dtype != object:
        return array.nbytes
    return sum(len(value) + 8 for value in array.ravel())
