"""Test whether reference rows have a season: a daily or weekly pattern. Pure.

Rows are grouped into blocks as long as a window, and blocks into classes by their position in the
period. With a season, blocks of the same class are more similar than blocks of different classes. A
permutation test decides whether they are more similar than blocks in random classes. Rows may
therefore be correlated within a block, and blocks may have any distribution. A trend and changes
from one period to the next are not a season.
"""

from typing import Any

import numpy as np

from telemetry.clock import DAY, HOUR

Array = np.ndarray[Any, Any]

WEEK = 7 * DAY
SEVERAL = 3  # minimum periods in a reference with a season
# Lengths of blocks; each divides a day or a week.
_LENGTHS = tuple(hours * HOUR for hours in (1, 2, 3, 4, 6, 8, 12, 24, 84))
_DEGREE = 3  # degree of the trend polynomial
_PERMUTATIONS = 199
_SURE = 0.01  # significance level of the permutation test
_LEAST_SHARE = 0.5  # minimum rows of a block, as a share of the blocks' median
_SEED = 20130107


def block_length(window: int) -> int:
    """Return the length of blocks for windows of length `window`; 0 if windows are too long."""
    return next((length for length in _LENGTHS if length >= window), 0)


def full_blocks(times: Array, length: int) -> list[Array]:
    """Return the rows of each block of event time, in order, without incomplete blocks."""
    blocks = times // length
    order = np.argsort(blocks, kind="stable")
    _, starts = np.unique(blocks[order], return_index=True)
    groups = np.split(order, starts[1:])
    least = _LEAST_SHARE * float(np.median([len(rows) for rows in groups]))
    return [rows for rows in groups if len(rows) >= least]


def season_of(times: Array, measures: Array, window: int) -> int:
    """Return the period of the season for windows of length `window`: WEEK, DAY, or 0 for none.

    `measures` [rows, k] are standardised numbers; a season changes their means.
    """
    length = block_length(window)
    if not length or not len(times):
        return 0
    span = int(times.max() - times.min())
    if span >= SEVERAL * WEEK and _is_season(times, measures, max(length, DAY), WEEK):
        return WEEK
    if length < DAY and span >= SEVERAL * DAY and _is_season(times, measures, length, DAY):
        return DAY
    return 0


def _is_season(times: Array, measures: Array, length: int, period: int) -> bool:
    blocks = full_blocks(times, length)
    starts = np.array([int(times[rows[0]]) // length * length for rows in blocks])
    classes = np.unique(starts % period, return_inverse=True)[1]
    if len(blocks) < SEVERAL * 2 or len(np.unique(classes)) < 2:
        return False
    means = np.stack([measures[rows].mean(axis=0) for rows in blocks])
    periods = np.unique(starts // period, return_inverse=True)[1]
    means -= _trend(means, starts)
    means -= _group_means(means, periods)
    spread = means.std(axis=0)
    means = means[:, spread > 0] / spread[spread > 0]
    if not means.shape[1]:
        return False
    generator = np.random.default_rng(_SEED)
    variance = _share_between_classes(means, classes)
    drawn = [
        _share_between_classes(means, _shuffled(classes, periods, generator))
        for _ in range(_PERMUTATIONS)
    ]
    return (1 + sum(sample >= variance for sample in drawn)) / (1 + _PERMUTATIONS) <= _SURE


def _trend(means: Array, starts: Array) -> Array:
    """Return a polynomial trend of each measure, whose degree is too low to fit a season."""
    place = np.interp(starts, [starts.min(), starts.max()], [-1, 1])
    curves = np.polynomial.polynomial.polyvander(place, _DEGREE)
    trend: Array = curves @ np.linalg.lstsq(curves, means, rcond=None)[0]
    return trend


def _group_means(means: Array, groups: Array) -> Array:
    """Return for each block the mean of its group."""
    member = np.zeros((int(groups.max()) + 1, len(groups)))
    member[groups, np.arange(len(groups))] = 1
    group_means: Array = (member @ means / member.sum(axis=1, keepdims=True))[groups]
    return group_means


def _shuffled(classes: Array, periods: Array, generator: np.random.Generator) -> Array:
    """Return the classes, shuffled within each period."""
    order = np.lexsort((generator.random(len(classes)), periods))
    shuffled = np.empty_like(classes)
    shuffled[np.argsort(periods, kind="stable")] = classes[order]
    return shuffled


def _share_between_classes(means: Array, classes: Array) -> float:
    """Return the share of variance between classes, of the measure with the greatest share."""
    counts = np.bincount(classes)
    member = np.zeros((len(counts), len(classes)))
    member[classes, np.arange(len(classes))] = 1
    sums = member @ means
    return float(((sums**2) / counts[:, None]).sum(axis=0).max() / len(classes))
