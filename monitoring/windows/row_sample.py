"""Sample the rows of a window. Pure.

A sample contains the rows with the smallest hashes of (event id, row), so every row has the same
chance. The sample does not depend on the order of rows, on duplicates or on the number of
consumers. A small window is sampled completely.
"""

from collections.abc import Iterator
from hashlib import blake2b
from heapq import heappush, heappushpop

LARGEST = (1 << 63) - 1  # largest value of a signed 64-bit column


def row_hash(event_id: str, row: int) -> int:
    """Return a row's stable hash in [0, 2^63)."""
    digest = blake2b(f"{event_id}/{row}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class RowSample:
    """The hashes of a window's sampled rows."""

    def __init__(self, size: int) -> None:
        """Sample at most `size` rows."""
        self._size = size
        self._largest_first: list[int] = []  # a heap of negated hashes

    def __len__(self) -> int:
        """Return the number of sampled rows."""
        return len(self._largest_first)

    def __iter__(self) -> Iterator[int]:
        """Return the hashes in arbitrary order."""
        return (-hash_ for hash_ in self._largest_first)

    def offer(self, hash_: int) -> tuple[bool, int | None]:
        """Return whether the row with this hash is sampled, and the hash of the row it evicts."""
        if len(self._largest_first) < self._size:
            heappush(self._largest_first, -hash_)
            return True, None
        evicted = -heappushpop(self._largest_first, -hash_)
        return (False, None) if evicted == hash_ else (True, evicted)

    def merge(self, other: "RowSample") -> int | None:
        """Merge another sample; return the largest sampled hash, or None if no row is evicted."""
        all_fit = len(self) + len(other) <= self._size
        for hash_ in other:
            self.offer(hash_)
        return None if all_fit else -self._largest_first[0]
