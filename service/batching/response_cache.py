"""Cache the outputs of requests with equal inputs.

Each worker has one cache per version, limited in bytes. An entry contains all outputs of a run. The
key consists of the input values and the caller. The caller is part of the key because a hit from
another caller's entry would reveal what others request.
"""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b

import msgspec
import numpy as np

from service.batching.merge import Array, Arrays

ENTRY_OVERHEAD = 512  # approximate size of an entry without its values, in bytes

Outputs = Mapping[str, Array]


class ResponseCache:
    """A cache that evicts the least recently used entry first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, tuple[Outputs, int]] = OrderedDict()
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Outputs | None:
        """Return the outputs of a key, None if they are not cached."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, outputs: Outputs) -> None:
        """Store outputs, unless they exceed the size of the whole cache."""
        size = ENTRY_OVERHEAD + sum(map(_bytes, outputs.values()))
        if size > self._max_bytes or key in self._entries:
            return
        # The outputs are slices of a batch; without a copy, the whole batch would stay in memory.
        copies = {name: array.copy() for name, array in outputs.items()}
        self._entries[key] = copies, size
        self.size += size
        self._shrink()

    def resize(self, max_bytes: int) -> None:
        """Set the size limit; evict entries until the cache fits."""
        self._max_bytes = max_bytes
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self._max_bytes:
            _, (_, size) = self._entries.popitem(last=False)
            self.size -= size


def key_of(inputs: Arrays, caller: bytes = b"") -> bytes:
    """Return a digest of caller and input values, independent of encoding and order.

    Datatypes are not included, because the version determines them. Values are compared by their
    bits, so 0.0 and -0.0 differ.
    """
    digest = blake2b(b"%d " % len(caller) + caller, digest_size=32)
    for name in sorted(inputs):
        array = inputs[name]
        digest.update(f"{name}{array.shape}".encode())
        if array.dtype == object:  # texts; MessagePack adds the length of each
            digest.update(msgspec.msgpack.encode(array.ravel().tolist()))
        else:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def _bytes(array: Array) -> int:
    if array.dtype != object:
        return array.nbytes
    return sum(len(value) + 8 for value in array.ravel())
