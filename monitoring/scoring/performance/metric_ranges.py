"""Clip the intervals of metrics to the values that the metrics can have. Pure.

Jackknife intervals and bands of estimates are symmetric, so near the end of a metric's range they
exceed the range. Judgements that derive a standard error from an interval must precede clipping.
"""

from math import inf

from msgspec.structs import replace

from monitoring.results import ESTIMATED, Score

_SHARE, _SIZE = (0.0, 1.0), (0.0, inf)
_RANGES = {
    "accuracy": _SHARE,
    "precision": _SHARE,
    "recall": _SHARE,
    "f1": _SHARE,
    "roc_auc": _SHARE,
    "brier": _SHARE,
    "calibration_error": _SHARE,
    "log_loss": _SIZE,
    "mae": _SIZE,
    "rmse": _SIZE,
    "mape": _SIZE,
    "r2": (-inf, 1.0),
}


def clipped(score: Score) -> Score:
    """Return the score with its interval clipped to the range of its metric."""
    bounds = _RANGES.get(score.name.removeprefix(ESTIMATED))
    if bounds is None or score.low is None or score.high is None:
        return score
    least, most = bounds
    return replace(score, low=max(score.low, least), high=min(score.high, most))
