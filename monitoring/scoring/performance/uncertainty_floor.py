"""Bound the uncertainty of a metric from below: a reference without errors proves no rate of zero.

Resampling a perfect reference finds no spread, and one wrong label would then be infinitely many
standard errors. Two bounds hold whatever was resampled, with N reference rows, n rows and w the
most that one row can change the mean:

    w / n                          one row more or less
    w * sqrt(1 / ((N + 2) * n))    an error rate of 1 / (N + 2), which the reference cannot exclude

Both are smaller than the spread of any metric that is not nearly perfect.
"""

from math import log, sqrt

import numpy as np

from monitoring.scoring.performance.metrics import LabelledRows

_LARGEST_LOSS = -log(float(np.finfo(np.float64).eps))  # what log loss counts for one row at most
_OF_RARER_CLASS = frozenset({"roc_auc", "precision", "recall", "f1"})
_OF_VALUES = frozenset({"mae", "rmse", "bias"})


def smallest_spread(name: str, rows: LabelledRows, reference: LabelledRows) -> float:
    """Return the smallest standard error of a metric over `rows`."""
    count, reference_rarer = len(rows.actual), len(reference.actual)
    if name in _OF_RARER_CLASS:
        count, reference_rarer = _rarer(rows), _rarer(reference)
    largest = _largest_change(name, reference)
    floor = largest * max(1 / count, sqrt(1 / ((reference_rarer + 2) * count)))
    if name == "rmse":  # the bounds are those of a mean of squares
        squares = largest * floor
        usual = sqrt(float(np.mean((reference.predicted - reference.actual) ** 2)))
        return min(squares / (2 * usual), sqrt(squares)) if usual > 0 else sqrt(squares)
    return floor


def _rarer(rows: LabelledRows) -> int:
    """Return the number of rows of the rarer class; a rank or a recall is a mean over those."""
    _, counts = np.unique(rows.actual, return_counts=True)
    return max(int(counts.min()), 1)


def _largest_change(name: str, reference: LabelledRows) -> float:
    if name == "log_loss":
        return _LARGEST_LOSS
    if name in _OF_VALUES:
        finite = reference.actual[np.isfinite(reference.actual)]
        return float(np.ptp(finite)) if len(finite) else 0.0
    return 1.0
