"""Windows, and references, drawn from a reference: what chance alone does to a statistic.

Rows that follow each other in time are more alike than rows drawn one by one, so both are put
together from blocks of neighbouring rows (the reference keeps the order it was registered in).
Everything that is calibrated is a sum over rows (histograms, products, errors), so a window is
drawn by adding up sums that were made once per block.

The reference is a sample too. Drawing a reference anew beside every few windows lets a threshold
know how far a reference of this size may lie from what the model really meets.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

Array = np.ndarray[Any, Any]

REFERENCES = 40
WINDOWS = 50  # beside each reference
DRAWS = REFERENCES * WINDOWS
_MOST = 100_000  # blocks in a reference
_BLOCKS = 20  # in a window
_STARTS = 2_000  # places where a block may begin
_SEED = 20130101
SMALLEST = 30  # values; fewer say nothing
_STEPS = 4  # size classes from one power of two to the next


class Resampling:
    """Draws for windows of one size from one reference; the same ones in every process."""

    def __init__(self, rows: int, window: int, reference: int = 0) -> None:
        """For windows of `window` rows, from the `rows` that are kept of `reference` rows."""
        chance = np.random.default_rng(_SEED)
        self._size = min(max(1, window // _BLOCKS), rows)
        self._rows = rows
        self._starts = np.sort(chance.permutation(rows)[:_STARTS])
        blocks = min(-(-(reference or rows) // self._size), _MOST)
        self._windows = self._draw(chance, DRAWS, -(-window // self._size))
        self._references = self._draw(chance, REFERENCES, blocks)

    def sums(self, values: Array) -> tuple[Array, Array]:
        """Of `values` [rows, features] over each window [DRAWS, ..] and each reference.

        The windows of one reference follow each other.
        """
        blocks = self._of_blocks(values)
        return self._windows @ blocks, self._references @ blocks

    def rows(self, draw: int) -> tuple[Array, Array]:
        """The rows of one window and of its reference, by their places."""
        reference = self._references[draw // WINDOWS]
        return self._places(self._windows[draw]), self._places(reference)

    def _of_blocks(self, values: Array) -> Array:
        around = np.concatenate([values, values[: self._size]]).astype(np.float64)
        upto = np.concatenate([np.zeros((1, around.shape[1])), np.cumsum(around, axis=0)])
        sums: Array = upto[self._starts + self._size] - upto[self._starts]
        return sums

    def _draw(self, chance: np.random.Generator, draws: int, blocks: int) -> Any:
        chosen = chance.integers(0, len(self._starts), size=draws * blocks)
        drawn = np.repeat(np.arange(draws), blocks)
        shape = (draws, len(self._starts))
        return csr_matrix((np.ones(len(chosen)), (drawn, chosen)), shape=shape)

    def _places(self, blocks: Any) -> Array:
        starts = np.repeat(self._starts[blocks.indices], blocks.data.astype(int))
        steps = np.arange(self._size)
        places: Array = ((starts[:, None] + steps) % self._rows).ravel()
        return places


def size_class(rows: int) -> int:
    """The class's own size, at or below `rows`: the smaller window is the noisier one."""
    steps = int(_STEPS * np.log2(max(rows, SMALLEST)) + 1e-9)
    return int(2 ** (steps / _STEPS) + 1e-9)
