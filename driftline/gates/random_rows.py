"""Draw random valid input rows of a model from the ranges of its reference."""

from typing import Any

import numpy as np
import pandas as pd

from registry.manifest import Feature

_SEED = 20261129
_MISSING = 0.05  # share of missing values of a nullable feature


def draw_rows(
    features: list[Feature], frame: pd.DataFrame, rows: int, seed: int = _SEED
) -> dict[str, list[Any]]:
    """Draw each feature independently: from its range or categories, or a missing value."""
    random = np.random.default_rng(seed)
    drawn: dict[str, list[Any]] = {}
    for feature in features:
        values = _values(feature, frame[feature.name].dropna(), rows, random)
        if feature.nullable:
            missing = random.random(rows) < _MISSING
            values = [None if none else value for value, none in zip(values, missing, strict=True)]
        drawn[feature.name] = values
    return drawn


def _values(
    feature: Feature, column: "pd.Series[Any]", rows: int, random: np.random.Generator
) -> list[Any]:
    drawn: list[Any]
    if column.empty:
        return [None] * rows
    if feature.kind == "categorical":
        drawn = [column.iloc[place] for place in random.integers(len(column), size=rows)]
        return drawn
    numbers = column.to_numpy(dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return [None] * rows
    low, high = numbers.min(), numbers.max()
    if np.array_equal(numbers, np.round(numbers)):
        drawn = random.integers(int(low), int(high) + 1, rows).tolist()
    else:
        drawn = random.uniform(low, high, rows).tolist()
    return drawn
