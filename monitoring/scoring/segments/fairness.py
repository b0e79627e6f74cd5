"""Compute fairness gaps between groups, with their confidence intervals.

The selection rate is the share of a group's rows with the positive prediction. The true-positive
rate is the same share among the group's rows with a positive label. A gap is the highest rate minus
the lowest rate. The highest and the lowest rate of many groups always differ by chance, so a gap
has a confidence interval, and its note states the gap in the reference. The groups "(other)" and
"(missing)" are not compared.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import sqrt

import msgspec
import numpy as np
from msgspec.structs import replace

from monitoring.results import SELECTION_GAP, TRUE_POSITIVE_GAP, Score
from monitoring.scoring.performance.metrics import LabelledRows
from monitoring.scoring.score_rules import MIN_VALUES, Array
from monitoring.significant_digits import significant

_Z = 1.959964  # standard errors on each side of a 95 % interval


class Proportion(msgspec.Struct, frozen=True):
    """A binomial proportion: `hits` of `rows`; both are sums of weights if rows have weights."""

    hits: float
    rows: float

    @property
    def value(self) -> float:
        """The share of hits."""
        return self.hits / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        return self.within(_Z)

    def within(self, errors: float) -> tuple[float, float]:
        """Return Wilson's score interval (1927) of `errors` standard errors.

        The interval is within 0 and 1, and is also valid for a few rows.
        """
        n, p = self.rows, self.value
        middle = (p + errors**2 / (2 * n)) / (1 + errors**2 / n)
        half = errors / (1 + errors**2 / n) * sqrt(p * (1 - p) / n + errors**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)


def difference(high: Proportion, low: Proportion, errors: float = _Z) -> tuple[float, float]:
    """Return Newcombe's interval of `high` minus `low` (1998, method 10)."""
    gap = high.value - low.value
    (high_from, high_to), (low_from, low_to) = high.within(errors), low.within(errors)
    down = sqrt((high.value - high_from) ** 2 + (low_to - low.value) ** 2)
    up = sqrt((high_to - high.value) ** 2 + (low.value - low_from) ** 2)
    return gap - down, gap + up


class GapLimit(msgspec.Struct, frozen=True):
    """The largest gap that a policy allows."""

    gap: float | None = None  # None if the policy sets no limit
    errors: float = 0.0  # standard errors by which a pair's gap must exceed the limit


class GroupRates(msgspec.Struct, frozen=True):
    """Both rates of each group that has enough rows."""

    selected: Mapping[str, Proportion]  # group -> selection rate
    found: Mapping[str, Proportion]  # group -> true-positive rate
    possible: bool = False  # whether the model has a positive class


def rates(
    predicted: LabelledRows,
    real: LabelledRows | None,
    places: Array,
    label_places: Array,
    names: Sequence[str],
) -> GroupRates:
    """Compute both rates of each named group.

    `places` are the group indices of the rows of `predicted`, and `label_places` of `real`.
    """
    if predicted.positive is None:
        return GroupRates({}, {})
    everyone = np.ones(len(places), dtype=bool)
    selected = _proportions(predicted.predicted == predicted.positive, everyone, places, names)
    true_positives: dict[str, Proportion] = {}
    if real is not None:
        positive = real.actual == real.positive
        true_positives = _proportions(
            real.predicted == real.positive, positive, label_places, names, real.weights
        )
    return GroupRates(selected, true_positives, possible=True)


def gaps(
    column: str,
    current: GroupRates,
    usual: GroupRates,
    selection: GapLimit,
    true_positives: GapLimit,
) -> list[Score]:
    """Score both gaps of a column; return an empty list if the model has no positive class."""
    if not current.possible:
        return []
    both = [
        _gap_score(SELECTION_GAP, column, current.selected, usual.selected, "rows"),
        _gap_score(TRUE_POSITIVE_GAP, column, current.found, usual.found, "labelled positive rows"),
    ]
    return [
        _with_limit(both[0], current.selected, selection),
        _with_limit(both[1], current.found, true_positives),
    ]


def _with_limit(score: Score, groups: Mapping[str, Proportion], allowed: GapLimit) -> Score:
    """Return the score with its limit; breached if a pair's whole interval is above the limit."""
    if allowed.gap is None:
        return score
    if score.value is None:
        return replace(score, threshold=allowed.gap)
    lowest, high, low = max(
        (difference(groups[group], groups[other], allowed.errors)[0], group, other)
        for group, other in permutations(sorted(groups), 2)
    )
    breached = lowest > allowed.gap
    bound = f"; lower bound {lowest:.3f} between {high} and {low}" if breached else ""
    return replace(score, threshold=allowed.gap, breached=breached, note=score.note + bound)


def _proportions(
    hits: Array,
    among: Array,
    places: Array,
    names: Sequence[str],
    weights: Array | None = None,
) -> dict[str, Proportion]:
    shares = {}
    for place, name in enumerate(names):
        rows = (places == place) & among
        if rows.sum() >= MIN_VALUES:
            shares[name] = proportion(hits, rows, weights)
    return shares


def proportion(hits: Array, rows: Array, weights: Array | None) -> Proportion:
    """Return the proportion of hits among the rows that the mask `rows` selects."""
    if weights is None:
        return Proportion(int(hits[rows].sum()), int(rows.sum()))
    return Proportion(float(weights[hits & rows].sum()), float(weights[rows].sum()))


def _gap_score(
    name: str,
    column: str,
    groups: Mapping[str, Proportion],
    usual: Mapping[str, Proportion],
    what: str,
) -> Score:
    if len(groups) < 2:
        note = f"fewer than two groups have {MIN_VALUES} {what}"
        return Score(name=name, segment=column, value=None, note=note)
    high, low = _extremes(groups)
    bounds = difference(groups[high], groups[low])
    note = f"{high} {groups[high].value:.3f}, {low} {groups[low].value:.3f}"
    if len(usual) > 1:
        most, least = _extremes(usual)
        note += f"; reference {usual[most].value - usual[least].value:.3f}"
    return Score(
        name=name,
        segment=column,
        value=significant(groups[high].value - groups[low].value),
        low=significant(bounds[0]),
        high=significant(bounds[1]),
        note=note,
    )


def _extremes(groups: Mapping[str, Proportion]) -> tuple[str, str]:
    by_rate = sorted(groups, key=lambda name: (groups[name].value, name))
    return by_rate[-1], by_rate[0]
