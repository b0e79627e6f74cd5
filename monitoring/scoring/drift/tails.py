"""Extrapolate the upper tail of a statistic beyond the largest drawn value.

A few thousand draws do not show values that occur once in ten thousand draws. The excess above the
90 % quantile is therefore modelled by a generalised Pareto distribution (peaks over threshold),
fitted by the method of moments. The surprisal of a value is -ln P(statistic >= value); it is 4.6
for a probability of 1 in 100.
"""

import numpy as np

from monitoring.scoring.score_rules import Array

_BULK = 0.9  # share of the draws below the fitted tail
_EXPONENTIAL = 1e-9  # below this absolute shape, the distribution is exponential
_SHAPES = (-0.1, 0.4)  # plausible shapes of a tail; others are artefacts of a few hundred values


class Tail:
    """The distribution of one statistic without drift, with its upper tail extrapolated."""

    def __init__(self, drawn: Array) -> None:
        """`drawn` are values of the statistic without drift."""
        self._drawn = np.sort(drawn)
        self._edge = float(np.quantile(self._drawn, _BULK))
        excess = self._drawn[self._drawn > self._edge] - self._edge
        self._share = len(excess) / len(self._drawn)
        self._shape, self._scale = _fit(excess)

    def surprisal(self, values: Array) -> Array:
        """Return each value's surprisal: -ln of the probability of this value or a greater one."""
        rank = np.searchsorted(self._drawn, values, side="left")
        common = 1 - rank / (len(self._drawn) + 1)
        beyond = np.log(1 / max(self._share, 1e-12)) + _ln_rarity(
            np.maximum(values - self._edge, 0), self._shape, self._scale
        )
        surprisal: Array = np.where(values > self._edge, beyond, -np.log(common))
        return surprisal

    def draw(self, generator: np.random.Generator, count: int) -> Array:
        """Draw `count` values from the distribution."""
        return np.array([self.value(surprisal) for surprisal in generator.exponential(size=count)])

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
    """Return the tail's shape and scale; the scale is almost 0 if the excess does not vary."""
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
