"""Statistics of each row of a matrix of numbers or texts. Pure NumPy, fast for large rows.

Every function returns one float64 per row, or NaN if the statistic is undefined for the row. No
function raises on NaN, infinities or empty rows.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]

_BLOCK = 65_536  # values per block, so that temporary arrays fit into the CPU cache
_LONG_TEXT = 2_048  # least bytes of a text whose words NumPy counts faster than `split`
_LONG_ROW = 1_024  # least values of rows that are counted one by one
_WHOLE_ROW = 16_384  # least values of rows that are processed one by one, which avoids copies
_AT_ONCE = 262_144  # most values that are one block without a copy, such as an image's channels
_PIECE = 8_192  # values per multiplication and sum, so few that BLAS starts no threads
_SMALL = frozenset({np.dtype(t) for t in ("?", "i1", "u1", "i2", "u2", "f2", "f4")})


def number_statistics(rows: Array, statistics: Collection[str]) -> dict[str, Array]:
    """Return the requested statistics of an array [n, k] of numbers.

    `mean`, `std`, `min`, `max` and `l2_norm` use only the finite values of a row. `zero_share` and
    `nan_share` are shares of all values of a row; infinities count as NaN.
    """
    count, width = rows.shape
    if not width or not count:
        return {name: np.full(count, np.nan) for name in statistics}
    if width == 1 and statistics == {"mean"}:
        return {"mean": _present(rows[:, 0].astype(np.float64))}
    at_once = count * width <= _AT_ONCE and width >= _WHOLE_ROW
    if count > 1 and width >= _WHOLE_ROW and not at_once:
        each = [number_statistics(row, statistics) for row in rows[:, None]]
        return {name: np.concatenate([block[name] for block in each]) for name in statistics}
    step = width if at_once else max(1, _BLOCK // count)
    with np.errstate(all="ignore"):
        blocks = [
            _block(_floats(rows[:, start : start + step]), statistics)
            for start in range(0, width, step)
        ]
        return {name: _present(_STATISTICS[name](blocks, width)) for name in statistics}


def projections(rows: Array, indices: Sequence[int]) -> dict[int, Array]:
    """Return index -> scalar product of each row of [n, k] with a fixed direction of length 1.

    The result is NaN for a row with a value that is not finite.
    """
    count, width = rows.shape
    if not width or not indices:
        return {index: np.full(count, np.nan) for index in indices}
    values = _floats(rows)
    with np.errstate(all="ignore"):
        return {
            index: _present(
                np.einsum("ij,j->i", values, _signs(index, width, values.dtype)) / width**0.5
            )
            for index in indices
        }


def text_statistics(rows: Sequence[Sequence[Any]], statistics: Collection[str]) -> dict[str, Array]:
    """Return the requested statistics of rows of texts, or of bytes that are not UTF-8.

    `length` is in characters, or in bytes for bytes. `word_count` splits at ASCII whitespace. Both
    are sums over the texts of a row. `empty` is 1 if all texts of a row are empty.
    """
    return {
        name: np.array([_TEXT_STATISTICS[name](row) for row in rows], np.float64)
        for name in statistics
    }


def _present(column: Array) -> Array:
    """Replace infinities with NaN, in place."""
    column[np.isinf(column)] = np.nan
    return column


def _floats(rows: Array) -> Array:
    """Return the values as contiguous float32, or as float64 if float32 would round them."""
    kind = np.float32 if rows.dtype in _SMALL else np.float64
    return np.ascontiguousarray(rows, dtype=kind)


class _Block(msgspec.Struct):
    """The requested statistics of a block of columns, by row."""

    counts: Any  # counts of finite values
    totals: Array  # sums of finite values
    squares: Any = 0.0  # sum of squared differences from the mean of this block
    norms: Any = 0.0  # sum of squares
    zeros: Any = 0
    smallest: Any = 0.0
    largest: Any = 0.0


def _block(values: Array, statistics: Collection[str]) -> _Block:
    """Return the statistics of a block; if values or sums are not finite, compute in float64."""
    totals = values.sum(axis=1).astype(np.float64)
    block = _Block(values.shape[1], totals)
    _fill(block, values, statistics)
    if all(np.isfinite(sums).all() for sums in (totals, block.squares, block.norms)):
        return block
    finite = np.isfinite(values)
    finite_values = np.where(finite, values, 0.0).astype(np.float64)
    block = _Block(finite.sum(axis=1), finite_values.sum(axis=1))
    _fill(block, finite_values, statistics, finite)
    return block


def _fill(
    block: _Block, values: Array, statistics: Collection[str], finite: Array | None = None
) -> None:
    """Compute the requested statistics; `finite` masks the values to use (None: all values)."""
    kind = values.dtype
    if "std" in statistics:  # not E[x^2] - E[x]^2, which cancels
        difference = values - (block.totals / block.counts).astype(kind)[:, None]
        if finite is not None:
            difference[~finite] = 0.0
        block.squares = _squares(difference)
    if "l2_norm" in statistics:
        block.norms = _squares(values)
    if "zero_share" in statistics:
        block.zeros = _zeros(values if finite is None else np.where(finite, values, 1.0))
    if "min" in statistics:
        bounded = values if finite is None else np.where(finite, values, np.inf)
        block.smallest = bounded.min(axis=1).astype(np.float64)
    if "max" in statistics:
        bounded = values if finite is None else np.where(finite, values, -np.inf)
        block.largest = bounded.max(axis=1).astype(np.float64)


def _squares(values: Array) -> Array:
    """Return the sum of squares of each row in float64, three times as fast as `einsum`."""
    count, width = values.shape
    whole = width - width % _PIECE
    rest = values[:, whole:]
    total: Array = np.vecdot(rest, rest).astype(np.float64)
    if whole:
        pieces = values[:, :whole].reshape(count, -1, _PIECE)
        total += np.vecdot(pieces, pieces).sum(axis=1, dtype=np.float64)
    return total


def _zeros(values: Array) -> Array:
    if values.shape[1] < _LONG_ROW:
        counts: Array = (values == 0).sum(axis=1)
        return counts
    return np.array([np.count_nonzero(row == 0) for row in values])


def _counts(blocks: Sequence[_Block]) -> Any:
    return sum(block.counts for block in blocks)


def _mean(blocks: Sequence[_Block], _width: int) -> Array:
    mean: Array = sum(block.totals for block in blocks) / _counts(blocks)
    return mean


def _std(blocks: Sequence[_Block], width: int) -> Array:
    """Merge squared differences (Chan, Golub and LeVeque 1979)."""
    squares = sum(block.squares for block in blocks)
    if len(blocks) > 1:
        mean = _mean(blocks, width)
        for block in blocks:
            apart = np.nan_to_num(block.totals / block.counts - mean)
            squares = squares + block.counts * apart**2
    deviation: Array = np.sqrt(squares / _counts(blocks))
    return deviation


def _norm(blocks: Sequence[_Block], _width: int) -> Array:
    norm = np.sqrt(sum(block.norms for block in blocks))
    return np.where(_counts(blocks) > 0, norm, np.nan)


_STATISTICS: dict[str, Callable[[Sequence[_Block], int], Array]] = {
    "mean": _mean,
    "std": _std,
    "min": lambda blocks, _: np.min([block.smallest for block in blocks], axis=0),
    "max": lambda blocks, _: np.max([block.largest for block in blocks], axis=0),
    "l2_norm": _norm,
    "zero_share": lambda blocks, width: sum(block.zeros for block in blocks) / width,
    "nan_share": lambda blocks, width: _per_row(blocks, 1.0 - _counts(blocks) / width),
    "length": lambda blocks, width: _per_row(blocks, float(width)),
}


def _per_row(blocks: Sequence[_Block], value: Any) -> Array:
    return np.full(blocks[0].totals.shape, value)


@lru_cache(maxsize=64)
def _signs(index: int, width: int, kind: "np.dtype[Any]") -> Array:
    """Return a direction of +1 and -1, which is constant in all releases.

    A shorter direction with the same index is a prefix of a longer direction.
    """
    stream = hashlib.shake_256(f"driftline projection {index}".encode())
    bits = np.unpackbits(np.frombuffer(stream.digest((width + 7) // 8), np.uint8))[:width]
    signs: Array = bits.astype(kind) * 2 - 1
    return signs


def _length(texts: Sequence[Any]) -> float:
    return float(sum(map(len, texts)))


def _word_count(texts: Sequence[Any]) -> float:
    return float(sum(_words(_encoded(text)) for text in texts))


def _words(text: bytes) -> int:
    if len(text) < _LONG_TEXT:
        return len(text.split())
    codes = np.frombuffer(text, np.uint8)
    inside = (codes != 32) & ((codes < 9) | (codes > 13))  # space, and tab to carriage return
    return int(inside[0]) + int(np.count_nonzero(inside[1:] & ~inside[:-1]))


def _non_ascii_share(texts: Sequence[Any]) -> float:
    characters = sum(map(len, texts))
    if not characters:
        return 0.0
    return sum(map(_non_ascii, texts)) / characters


def _non_ascii(text: Any) -> int:
    if text.isascii():
        return 0
    if isinstance(text, bytes):
        return int(np.count_nonzero(np.frombuffer(text, np.uint8) > 127))
    return len(text) - len(text.encode("ascii", "ignore"))


def _empty(texts: Sequence[Any]) -> float:
    return float(not any(texts))


def _encoded(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode(errors="surrogatepass")


_TEXT_STATISTICS: dict[str, Callable[[Sequence[Any]], float]] = {
    "length": _length,
    "word_count": _word_count,
    "non_ascii_share": _non_ascii_share,
    "empty": _empty,
}
TEXT_STATISTICS = frozenset(_TEXT_STATISTICS)
NUMBER_STATISTICS = frozenset(_STATISTICS) | {"projection"}
