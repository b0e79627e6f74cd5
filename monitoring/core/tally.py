"""Everything that is counted of all rows of a window, sampled or not, lives here.

Counts add up: those of parts, however a window is taken apart and in whatever order they are put
together, are those of the whole.
"""

from itertools import zip_longest

import msgspec
import numpy as np

from monitoring.core.domain import MISSING, OUTSIDE, Array


class InputTally(msgspec.Struct):
    """How many values are missing, and how many the reference does not know."""

    rows: int = 0  # whose values were looked at
    withheld: int = 0  # whose payload was not kept
    missing: list[int] = []  # by feature, in the manifest's order
    outside: list[int] = []  # beyond the reference's range, or of a category it does not have

    def add(self, odd: Array, ordinary: int = 0) -> None:
        """Count rows by what is odd about them (`Domain.odd`), and some without anything odd."""
        self.merge(
            InputTally(
                rows=len(odd) + ordinary,
                missing=np.count_nonzero(odd == MISSING, axis=0).tolist(),
                outside=np.count_nonzero(odd == OUTSIDE, axis=0).tolist(),
            )
        )

    def merge(self, other: "InputTally") -> None:
        """Count what another tally has counted."""
        self.rows += other.rows
        self.withheld += other.withheld
        self.missing = _sums(self.missing, other.missing)
        self.outside = _sums(self.outside, other.outside)


def _sums(some: list[int], others: list[int]) -> list[int]:
    return [one + other for one, other in zip_longest(some, others, fillvalue=0)]
