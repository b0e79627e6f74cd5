"""Accumulate evidence that errors have persistently grown beyond what the inputs explain. Pure.

Each window has a gap: the difference between the errors that its labels show and the errors that
were expected from its inputs. A single gap is noise; many small gaps in a row are not. An
e-detector of the Shiryaev-Roberts kind (Shin, Ramdas and Rinaldo 2022) accumulates the gaps. Let z
be the gap in standard errors beyond the tolerated gap:

    M = (M before + 1) * exp(stride * z - stride^2 / 2),    averaged over strides and gaps.

If nothing has changed, the expected value of the second factor is at most 1, independently of
earlier windows. M then needs at least L windows on average to reach L. An alarm at M >= L therefore
meets a budget of one false alarm in L windows, without counting windows in a row. Small strides
detect small persistent gaps; large strides detect a large gap quickly.

One window is never enough: the evidence must reach its limit even without its strongest window. A
revision replaces its window's gaps, and the evidence is recomputed from that window on.
"""

from collections.abc import Iterable, Sequence
from math import exp

import msgspec

from monitoring.results import ERROR_GAP, EVIDENCE, GAP, Score, Window
from monitoring.significant_digits import significant

FAR = 4.0  # standard errors between the tolerated gap and a single gap's threshold
WIDTH = 1.96  # standard errors between a gap and its bounds
_STRIDES = (0.5, 1.0, 2.0, 3.0)
_FULL = 2.0 * len(_STRIDES)  # upper bound of a sum, in multiples of the limit, so sums can fade
_MOST = 8.0  # maximum standard errors that one window contributes
_MOST_WINDOWS = 64  # maximum number of windows whose gaps a revision can replace

Sums = dict[str, list[float]]  # name of a gap score -> M for each stride


class WindowGaps(msgspec.Struct, frozen=True):
    """One window's gaps, in standard errors beyond the tolerated gap."""

    window: Window
    gaps: dict[str, float]
    note: str = ""  # note of the largest gap's score


class Evidence(msgspec.Struct, frozen=True):
    """Evidence over windows: sums of the oldest windows, and the gaps of the revisable windows."""

    base: Sums = {}
    windows: list[WindowGaps] = []  # revisable windows in order of event time
    start: int = 0  # windows that start before this event time are ignored


class WeighedWindow(msgspec.Struct, frozen=True):
    """Evidence after a window's gaps were added, and the scores that follow from it."""

    evidence: Evidence
    of_window: list[Score]  # evidence up to this window; empty if the window was not added
    newest: list[Score]  # evidence up to the newest window; empty if the window was not added


def weigh(
    scores: Sequence[Score], window: Window, before: Evidence, allowed: float
) -> WeighedWindow:
    """Add a window's gaps to the evidence, or replace the gaps of the window's earlier revision.

    `allowed` is the allowed number of false alarms per window.
    """
    newest_gaps = _gaps_of(scores, window)
    if newest_gaps is None or window.start < before.start:
        return WeighedWindow(before, [], [])
    others = [entry for entry in before.windows if entry.window.start != window.start]
    windows = sorted([*others, newest_gaps], key=lambda item: item.window)
    up_to_window = [entry for entry in windows if entry.window <= window]
    of_window = [_score(before.base, up_to_window, allowed)]
    newest = of_window if up_to_window == windows else [_score(before.base, windows, allowed)]
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
        for name, excess in window.gaps.items():
            sums = after.get(name, [0.0] * len(_STRIDES))
            after[name] = [
                min((m + 1) * exp(stride * excess - stride**2 / 2), _FULL * limit)
                for m, stride in zip(sums, _STRIDES, strict=True)
            ]
    return after


def _mean(sums: Sums) -> float:
    if not sums:
        return 0.0
    return sum(sum(each) for each in sums.values()) / (len(sums) * len(_STRIDES))


def _gaps_of(scores: Sequence[Score], window: Window) -> WindowGaps | None:
    gap_scores = [score for score in scores if score.name in (GAP, ERROR_GAP) and score.of_whole]
    excess = {
        score.name: (excess, score.note)
        for score in gap_scores
        if (excess := _excess(score)) is not None
    }
    if not excess:
        return None
    note = max(excess.values())[1]
    return WindowGaps(window, {name: gap for name, (gap, _) in excess.items()}, note)


def _excess(score: Score) -> float | None:
    """Return the standard errors by which a gap exceeds the tolerated gap; None if unknown."""
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
