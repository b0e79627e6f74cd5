"""Map a feature's values back to the reference's distribution, with as few changes as possible.

Numbers are mapped by quantile and keep their order. If a category has too many rows, randomly
chosen rows are reassigned to categories with too few rows. A feature without drift hardly changes,
so changed predictions are caused by the drift. Pure; the random seed is fixed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from monitoring.counters.plain_values import category
from monitoring.scoring.score_rules import Array

_SEED = 20130101


def restore_numbers(values: Array, expected: Array, *, nullable: bool) -> Array:
    """Return numbers with the distribution and the missing share of `expected`; NaN is missing.

    `expected` are the reference's numbers. If the feature is not nullable, no row becomes missing.
    """
    generator = np.random.default_rng(_SEED)
    present, rows = np.sort(expected[~np.isnan(expected)]), len(values)
    if not len(present):
        return values.copy()
    missing_rows = round((1 - len(present) / len(expected)) * rows) if nullable else 0
    missing = np.isnan(values)
    restored = values.copy()
    if missing.sum() > missing_rows:
        filled_rows = generator.choice(
            np.flatnonzero(missing), int(missing.sum()) - missing_rows, replace=False
        )
        restored[filled_rows] = generator.choice(present, len(filled_rows))
    elif missing.sum() < missing_rows:
        emptied_rows = generator.choice(
            np.flatnonzero(~missing), missing_rows - int(missing.sum()), replace=False
        )
        restored[emptied_rows] = np.nan
    rows_with_value = np.flatnonzero(~np.isnan(restored))
    ties = generator.permutation(len(rows_with_value))  # equal values are ranked at random
    ranks = np.argsort(restored[rows_with_value][ties], kind="stable")
    order = rows_with_value[ties][ranks]
    places = (np.arange(len(order)) + 0.5) / max(len(order), 1) * len(present)
    restored[order] = present[places.astype(int)]
    return restored


def restore_categories(
    values: Sequence[Any], expected: "pd.Series[Any]", *, nullable: bool
) -> list[Any]:
    """Return categories with the distribution of `expected`, in its spelling; None is missing.

    `expected` are the reference's categories. If the feature is not nullable, no row becomes
    missing.
    """
    generator = np.random.default_rng(_SEED)
    spelling = {_category_key(value): value for value in expected if nullable or not pd.isna(value)}
    shares = expected.map(_category_key).value_counts()
    shares = shares[[name in spelling for name in shares.index]]
    quotas = _apportioned({str(n): int(shares[n]) for n in sorted(shares.index)}, len(values))
    names = np.array([_category_key(value) for value in values], dtype=object)
    free: list[int] = []
    lacking: list[str] = []
    for name in sorted({*names, *quotas}):
        rows = np.flatnonzero(names == name)
        excess = len(rows) - quotas.get(name, 0)
        if excess > 0:
            free += generator.choice(rows, excess, replace=False).tolist()
        else:
            lacking += [name] * -excess
    restored = list(values)
    for row, name in zip(free, generator.permutation(lacking), strict=True):
        restored[row] = spelling[str(name)]
    return restored


def _category_key(value: Any) -> str:
    return "" if pd.isna(value) else "=" + category(value)


def _apportioned(counts: dict[str, int], rows: int) -> dict[str, int]:
    """Apportion rows to names by the largest-remainder method, so that the sum is `rows`."""
    total = sum(counts.values())
    exact = {name: count * rows / total for name, count in counts.items()}
    whole = {name: int(share) for name, share in exact.items()}
    remainder = rows - sum(whole.values())
    first = sorted(exact, key=lambda name: (whole[name] - exact[name], name))[:remainder]
    return {name: count + (name in first) for name, count in whole.items()}
