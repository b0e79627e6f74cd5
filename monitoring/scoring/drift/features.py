"""Test which features drifted within one segment of a window.

A segment of the reference may be small, so the thresholds for whole windows do not apply. A feature
has drifted if its distance reaches `alarms.smallest_drift` and a two-sample test
(Kolmogorov-Smirnov or chi-squared) rejects equality at 1 %, Bonferroni-corrected over the features.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp

from monitoring.scoring.drift.statistics import jensenshannon, wasserstein
from monitoring.scoring.feature_values import FeatureTable, FeatureValues
from monitoring.scoring.score_rules import MIN_VALUES, Array

_ERRORS = 0.01  # probability of a false result for an unchanged segment, all features together


def drifted_features(
    window: FeatureTable,
    rows: Array,
    expected: FeatureTable,
    reference_rows: Array,
    smallest: float,
) -> tuple[int, Sequence[tuple[str, float]]]:
    """Return the number of compared features, and the drifted features with their distances.

    `rows` and `reference_rows` select the segment's rows in the window and in the reference.
    Distances below `smallest` are no drift. The largest distance comes first.
    """
    compared = 0
    drifted: list[tuple[str, float]] = []
    for feature in window.features:
        pair = _pair(window[feature], rows, expected[feature], reference_rows)
        if min(map(len, pair)) < MIN_VALUES:
            continue
        compared += 1
        measure = wasserstein if feature.kind == "numeric" else jensenshannon
        distance = measure(pair[1], pair[0])
        level = _ERRORS / len(window.features)
        if distance >= smallest and _chance(*pair, numeric=feature.kind == "numeric") < level:
            drifted.append((feature.name, distance))
    return compared, sorted(drifted, key=lambda item: (-item[1], item[0]))


def _pair(
    values: FeatureValues, rows: Array, expected: FeatureValues, reference_rows: Array
) -> tuple[Array, Array]:
    """Return the present values of both samples, with the same code for the same category."""
    current, reference = values.codes[rows], expected.codes[reference_rows]
    current, reference = current[np.isfinite(current)], reference[np.isfinite(reference)]
    if values.feature.kind == "numeric":
        return current, reference
    numbers = {name: number for number, name in enumerate(expected.categories)}
    table = np.array([numbers.setdefault(name, len(numbers)) for name in values.categories], int)
    codes = table[current.astype(int)] if len(current) else current.astype(int)
    return codes, reference.astype(int)


def _chance(current: Array, reference: Array, *, numeric: bool) -> float:
    """Return the p-value: the probability of such a difference in samples of one population."""
    if numeric:
        return float(ks_2samp(current, reference, method="asymp").pvalue)
    size = int(max(current.max(), reference.max())) + 1
    counts = np.array(
        [np.bincount(current, minlength=size), np.bincount(reference, minlength=size)]
    )
    return float(chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue)
