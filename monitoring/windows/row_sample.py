"""Sample the rows of a window. Pure.

The sample holds the rows with the smallest hash of (event id, row): the same rows whatever the
order, the duplicates or the number of consumers, every row with the same chance, and all rows while
the window is small.
"""

from collections.abc import Iterator
from hashlib import blake2b
from heapq import heappush, heappushpop

LARGEST = (1 << 63) - 1  # what a signed 64-bit column holds


def row_hash(event_id: str, row: int) -> int:
    """Return a stable hash in [0, 2^63) of one row."""
    digest = blake2b(f"{event_id}/{row}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class RowSample:
    """The hashes of a window's sampled rows."""

    def __init__(self, size: int) -> None:
        """Sample at most `size` rows."""
        self._size = size
        self._largest_first: list[int] = []  # a heap of negated hashes

    def __len__(self) -> int:
        """Return number of sampled rows."""
        return len(self._largest_first)

    def __iter__(self) -> Iterator[int]:
        """Return the hashes, in no order."""
        return (-number for number in self._largest_first)

    def offer(self, number: int) -> tuple[bool, int | None]:
        """Return whether the row with this hash is sampled, and the hash of the row it evicts."""
        if len(self._largest_first) < self._size:
            heappush(self._largest_first, -number)
            return True, None
        pushed_out = -heappushpop(self._largest_first, -number)
        return (False, None) if pushed_out == number else (True, pushed_out)

    def merge(self, other: "RowSample") -> int | None:
        """Merge two samples; returns the largest sampled hash if rows were evicted, else None."""
        all_kept = len(self) + len(other) <= self._size
        for number in other:
            self.offer(number)
        return None if all_kept else -self._largest_first[0]
