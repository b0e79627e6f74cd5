"""Extrapolate the upper tail of a statistic beyond the largest drawn value.

A thousand draws cannot show what happens once in ten thousand. Above the 90 % quantile the excess
is modelled by a generalized Pareto distribution (peaks over threshold), fitted by the method of
moments. The surprisal of a value is -ln P(statistic >= value): 4.6 for one in a hundred.
"""

import numpy as np

from monitoring.scoring.score_rules import Array

_BULK = 0.9  # share of the draws below the fitted tail
_EXPONENTIAL = 1e-9  # a shape of nothing
_SHAPES = (-0.1, 0.4)  # plausible tail shapes; others are artefacts of a hundred values


class Tail:
    """The upper tail of one statistic under chance."""

    def __init__(self, drawn: Array) -> None:
        """`drawn`: values made by chance."""
        self._drawn = np.sort(drawn)
        self._edge = float(np.quantile(self._drawn, _BULK))
        excess = self._drawn[self._drawn > self._edge] - self._edge
        self._share = len(excess) / len(self._drawn)
        self._shape, self._scale = _fit(excess)

    def surprisal(self, values: Array) -> Array:
        """Return -ln of the probability that chance makes a value this large or larger."""
        rank = np.searchsorted(self._drawn, values, side="left")
        common = 1 - rank / (len(self._drawn) + 1)
        beyond = np.log(1 / max(self._share, 1e-12)) + _ln_rarity(
            np.maximum(values - self._edge, 0), self._shape, self._scale
        )
        surprisal: Array = np.where(values > self._edge, beyond, -np.log(common))
        return surprisal

    def draw(self, chance: np.random.Generator, count: int) -> Array:
        """Draw values as chance would make them."""
        return np.array([self.value(surprisal) for surprisal in chance.exponential(size=count)])

    def value(self, surprisal: float) -> float:
        """Return the value with this surprisal."""
        share = float(np.exp(-surprisal))
        if share >= self._share:
            return float(np.quantile(self._drawn, 1 - share))
        rarity = float(np.log(self._share / share))
        if abs(self._shape) < _EXPONENTIAL:
            return self._edge + self._scale * rarity
        return self._edge + self._scale / self._shape * float(np.expm1(self._shape * rarity))


def _fit(excess: Array) -> tuple[float, float]:
    """Return shape and scale; a statistic that hardly varies has a tail of next to nothing."""
    if len(excess) < 2 or np.var(excess) <= 0:
        return 0.0, 1e-12
    mean, ratio = float(np.mean(excess)), float(np.mean(excess)) ** 2 / float(np.var(excess))
    shape = float(np.clip((1 - ratio) / 2, *_SHAPES))
    return shape, mean * (1 - shape)


def _ln_rarity(excess: Array, shape: float, scale: float) -> Array:
    if abs(shape) < _EXPONENTIAL:
        return excess / scale
    inside = np.maximum(1 + shape * excess / scale, 1e-300)
    return np.log(inside) / shape
