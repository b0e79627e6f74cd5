"""Accumulate evidence that errors have persistently grown beyond what the inputs explain. Pure.

Each window brings a gap: how much worse its labels are than was expected of its rows. Single gaps
are noise; many small ones in a row are not. An e-detector (Shin, Ramdas and Rinaldo 2022; of the
Shiryaev-Roberts kind) weighs them: with z the gap in standard errors beyond what is tolerated,

    M = (M before + 1) * exp(stride * z - stride^2 / 2),    averaged over strides and gaps.

Where nothing has changed, the mean of the second factor is at most 1 whatever came before, so M
stays below L for L windows on average: an alarm at M >= L keeps a budget of one in L windows,
without a count of windows in a row. Small strides find small persistent gaps, large ones find a
large gap soon.

One window is never enough: the evidence must also reach its limit without its strongest window. A
revision replaces the gaps of its window, and the evidence is computed from there on.
"""

from collections.abc import Iterable, Sequence
from math import exp

import msgspec

from monitoring.results import ERROR_GAP, EVIDENCE, GAP, Score, Window
from monitoring.significant_digits import significant

FAR = 4.0  # standard errors beyond what is tolerated: where the threshold of one gap lies
WIDTH = 1.96  # standard errors between a gap and its bounds
_STRIDES = (0.5, 1.0, 2.0, 3.0)
_FULL = 2.0 * len(_STRIDES)  # times the limit: evidence is cut off there, so that it can fade
_MOST = 8.0  # standard errors that one window can bring
_MOST_WINDOWS = 64  # whose gaps a revision may replace

Sums = dict[str, list[float]]  # keyed by gap, one number per stride


class WindowGaps(msgspec.Struct, frozen=True):
    """The gaps of one window, in standard errors beyond what is tolerated."""

    window: Window
    gaps: dict[str, float]
    note: str = ""  # note of the first gap


class Evidence(msgspec.Struct, frozen=True):
    """Evidence over windows: sums of the early ones, and the gaps of those that may be revised."""

    base: Sums = {}
    windows: list[WindowGaps] = []  # windows in order of event time
    start: int = 0  # windows that begin before this event time bring nothing


class WeighedWindow(msgspec.Struct, frozen=True):
    """The sum of a window's gaps and those before it."""

    evidence: Evidence
    of_window: list[Score]  # the evidence up to this window; empty: it brought no gap
    newest: list[Score]  # the evidence up to the newest window


def weigh(
    scores: Sequence[Score], window: Window, before: Evidence, allowed: float
) -> WeighedWindow:
    """Accumulate a window's gaps, in place of those of its earlier revision.

    `allowed` false alarms per window.
    """
    newest_gaps = _gaps_of(scores, window)
    if newest_gaps is None or window.start < before.start:
        return WeighedWindow(before, [], [])
    others = [entry for entry in before.windows if entry.window.start != window.start]
    windows = sorted([*others, newest_gaps], key=lambda item: item.window)
    upto = [entry for entry in windows if entry.window <= window]
    of_window = [_score(before.base, upto, allowed)]
    newest = of_window if upto == windows else [_score(before.base, windows, allowed)]
    base, start = before.base, before.start
    while len(windows) > _MOST_WINDOWS:
        start = windows[0].window.start + 1
        base, windows = _sums(base, windows[:1], 1 / allowed), windows[1:]
    return WeighedWindow(Evidence(base, windows, start), of_window, newest)


def _score(base: Sums, windows: Sequence[WindowGaps], allowed: float) -> Score:
    limit = 1 / allowed
    value = _mean(_sums(base, windows, limit))
    breached = value >= limit
    if breached:
        strongest = max(windows, key=lambda item: sum(item.gaps.values()))
        others = [entry for entry in windows if entry is not strongest]
        breached = _mean(_sums(base, others, limit)) >= limit
    return Score(
        name=EVIDENCE,
        value=significant(value),
        threshold=significant(limit),
        breached=breached,
        note=windows[-1].note,
    )


def _sums(base: Sums, windows: Iterable[WindowGaps], limit: float) -> Sums:
    after = {name: list(sums) for name, sums in base.items()}
    for window in windows:
        for name, away in window.gaps.items():
            sums = after.get(name, [0.0] * len(_STRIDES))
            after[name] = [
                min((m + 1) * exp(stride * away - stride**2 / 2), _FULL * limit)
                for m, stride in zip(sums, _STRIDES, strict=True)
            ]
    return after


def _mean(sums: Sums) -> float:
    if not sums:
        return 0.0
    return sum(sum(each) for each in sums.values()) / (len(sums) * len(_STRIDES))


def _gaps_of(scores: Sequence[Score], window: Window) -> WindowGaps | None:
    gap_scores = [score for score in scores if score.name in (GAP, ERROR_GAP) and score.of_whole]
    away = {
        score.name: (away, score.note) for score in gap_scores if (away := _away(score)) is not None
    }
    if not away:
        return None
    note = max(away.values())[1]
    return WindowGaps(window, {name: gap for name, (gap, _) in away.items()}, note)


def _away(score: Score) -> float | None:
    """Return how many standard errors a gap lies beyond what is tolerated."""
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
