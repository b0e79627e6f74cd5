"""Answers kept for requests that come again with the same inputs, bounded in bytes.

Belongs to one version in one worker, and goes with it. What is kept are all outputs of a run: which
of them a client wants, as what, and what else it states (its id, a deadline, an event time) changes
nothing about them, so only the values selector about make the key, however they travelled.
"""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b

import msgspec
import numpy as np

from service.batching.merge import Array, Arrays

_OVERHEAD = 512  # bytes that an entry takes beside its values, about

Outputs = Mapping[str, Array]


class ResponseCache:
    """The least recently used entry goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, tuple[Outputs, int]] = OrderedDict()
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Outputs | None:
        """What was answered before, if it is still here."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: bytes, outputs: Outputs) -> None:
        """Keep an answer, unless it alone is larger than all may be."""
        size = _OVERHEAD + sum(map(_bytes, outputs.values()))
        if size > self._max_bytes or key in self._entries:
            return
        # Copies: the outputs are slices, which would keep the whole of their batch.
        kept = {name: array.copy() for name, array in outputs.items()}
        self._entries[key] = kept, size
        self.size += size
        self._shrink()

    def resize(self, max_bytes: int) -> None:
        """Hold at most so much from now on."""
        self._max_bytes = max_bytes
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self._max_bytes:
            _, (_, size) = self._entries.popitem(last=False)
            self.size -= size


def key_of(inputs: Arrays) -> bytes:
    """The same for the same values, whichever encoding and order brought them.

    Names and datatypes are the version's and need no mention. Values are compared by their bits:
    0.0 and -0.0 are two.
    """
    digest = blake2b(digest_size=32)
    for name in sorted(inputs):
        array = inputs[name]
        digest.update(repr(array.shape).encode())
        if array.dtype == object:  # texts, each of which says where it ends
            digest.update(msgspec.msgpack.encode(array.ravel().tolist()))
        else:
            digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _bytes(array: Array) -> int:
    if array.dtype != object:
        return array.nbytes
    return sum(len(value) + 8 for value in array.ravel())
