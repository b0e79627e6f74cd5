"""How severe a drift score is: one scale for alarms, page and terminal. Pure."""

import math

from monitoring.results import Score

MOST_SEVERE = 99.0


def severity(score: Score | None) -> float | None:
    """Return how far a drift statistic went, in thresholds; None where that is unknown.

    1 and above lie beyond the threshold. A p-value falls as a distance grows; which of the two a
    statistic is shows in whether it counts as breached above or below its threshold.
    """
    if score is None or score.value is None or not math.isfinite(score.value):
        return None
    if score.threshold is None or not score.threshold > 0:
        return 1.0 if score.breached else 0.0
    if score.breached == (score.value >= score.threshold):
        measured = score.value / score.threshold
    else:
        measured = _by_p_value(score.value, score.threshold)
    return max(measured, 1.0) if score.breached else min(max(measured, 0.0), 0.999)


def _by_p_value(p: float, threshold: float) -> float:
    if p <= 0 or threshold >= 1:
        return MOST_SEVERE
    return min(math.log(p) / math.log(threshold), MOST_SEVERE)
