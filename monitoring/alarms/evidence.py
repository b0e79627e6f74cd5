"""Everything that decides whether errors have lastingly grown beyond what the inputs explain.

Each window brings a gap: how much worse its labels are than was expected of its rows. Single gaps
are noise; many small ones in a row are not. They are weighed by an e-detector (Shin, Ramdas and
Rinaldo 2022; of the Shiryaev-Roberts kind): with z the gap in usual deviations beyond what is
tolerated,

    M = (M before + 1) * exp(stride * z - stride^2 / 2),    averaged over strides and gaps.

Where nothing has changed the mean of the second factor is at most 1 whatever came before, so M
stays below L for L windows on average: an alarm at M >= L keeps a budget of one in L windows,
without a count of windows in a row. Small strides find small lasting gaps, large ones find a great
gap at once.
"""

from collections.abc import Sequence
from math import exp

from monitoring.results import ERROR_GAP, EVIDENCE, GAP, Score

FAR = 4.0  # usual deviations beyond what is tolerated: where the threshold of one gap lies
WIDTH = 1.96  # usual deviations between a gap and its bounds
_STRIDES = (0.5, 1.0, 2.0, 3.0)
_FULL = 2.0 * len(_STRIDES)  # times the limit: no more is kept, so that evidence can fade
_MOST = 8.0  # deviations that one window can bring forward

Evidence = dict[str, list[float]]  # by gap, one number per stride


def weigh(
    scores: Sequence[Score], before: Evidence, allowed: float
) -> tuple[Evidence, list[Score]]:
    """The evidence with this window's gaps, and as a score of the window; none without a gap.

    `allowed` false alarms per window.
    """
    limit = 1 / allowed
    after = {name: list(kept) for name, kept in before.items()}
    found = [score for score in scores if score.name in (GAP, ERROR_GAP) and score.of_whole]
    worst: tuple[float, str] = (-1.0, "")
    for score in found:
        away = _away(score)
        if away is not None:
            kept = after.get(score.name, [0.0] * len(_STRIDES))
            after[score.name] = [
                min((m + 1) * exp(stride * away - stride**2 / 2), _FULL * limit)
                for m, stride in zip(kept, _STRIDES, strict=True)
            ]
            worst = max(worst, (sum(after[score.name]), score.note))
    if worst[0] < 0:
        return before, []
    value = sum(sum(kept) for kept in after.values()) / (len(after) * len(_STRIDES))
    reported = Score(
        name=EVIDENCE,
        value=float(f"{value:.9g}"),
        threshold=float(f"{limit:.9g}"),
        breached=value >= limit,
        note=worst[1],
    )
    return after, [reported]


def _away(score: Score) -> float | None:
    """Usual deviations beyond what is tolerated."""
    if None in (score.value, score.threshold, score.low, score.high):
        return None
    assert score.value is not None
    assert score.threshold is not None
    assert score.low is not None
    assert score.high is not None
    usual = (score.high - score.low) / (2 * WIDTH)
    if usual <= 0:
        return None
    return min((score.value - score.threshold) / usual + FAR, _MOST)
