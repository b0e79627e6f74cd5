"""Lower bound of a metric's standard error: a reference without errors does not prove perfection.

Resampling a reference without errors results in a standard error of 0, so a single wrong prediction
would be infinitely significant. Two lower bounds apply in every case. N is the number of reference
rows, n is the number of rows, and w is the largest contribution of one row to the sum:

    w / n                          effect of one row
    w * sqrt(1 / ((N + 2) * n))    an error rate of 1 / (N + 2), which the reference cannot exclude

Both bounds are smaller than the standard error of any metric that is not nearly perfect.
"""

from math import log, sqrt

import numpy as np

from monitoring.scoring.performance.metrics import LabelledRows

_LARGEST_LOSS = -log(float(np.finfo(np.float64).eps))  # maximum log loss of one row
_OF_RARER_CLASS = frozenset({"roc_auc", "precision", "recall", "f1"})
_OF_VALUES = frozenset({"mae", "rmse", "bias"})


def smallest_spread(name: str, rows: LabelledRows, reference: LabelledRows) -> float:
    """Return the smallest standard error of a metric over `rows`."""
    count, reference_rarer = len(rows.actual), len(reference.actual)
    if name in _OF_RARER_CLASS:
        count, reference_rarer = _rarer(rows), _rarer(reference)
    largest = _largest_change(name, reference)
    floor = largest * max(1 / count, sqrt(1 / ((reference_rarer + 2) * count)))
    if name == "rmse":  # the floor applies to the mean of the squares
        squares = largest * floor
        usual = sqrt(float(np.mean((reference.predicted - reference.actual) ** 2)))
        return min(squares / (2 * usual), sqrt(squares)) if usual > 0 else sqrt(squares)
    return floor


def _rarer(rows: LabelledRows) -> int:
    """Return the number of rows of the rarer class, over which AUC and recall are averaged."""
    _, counts = np.unique(rows.actual, return_counts=True)
    return max(int(counts.min()), 1)


def _largest_change(name: str, reference: LabelledRows) -> float:
    if name == "log_loss":
        return _LARGEST_LOSS
    if name in _OF_VALUES:
        finite = reference.actual[np.isfinite(reference.actual)]
        return float(np.ptp(finite)) if len(finite) else 0.0
    return 1.0
