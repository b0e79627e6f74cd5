"""Shares with their 95 % intervals, and the difference of two of them. Pure.

Whether a model treats groups alike: the gaps between them in two rates.

The selection rate is the share of a group's rows that got the positive answer, the true-positive
rate that of its rows whose truth is positive. A gap is the highest rate less the lowest. That the
extremes of many groups lie apart by chance is why it comes with an interval and with the gap in
the reference. Groups of several values ("(other)") and of none ("(missing)") are nobody's.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import sqrt

import msgspec
import numpy as np
from msgspec.structs import replace

from monitoring.results import SELECTION_GAP, TRUE_POSITIVE_GAP, Score
from monitoring.scoring.performance.metrics import Answers
from monitoring.scoring.score_rules import SMALLEST, Array, significant

_Z = 1.959964  # standard errors: 95 %


class Proportion(msgspec.Struct, frozen=True):
    """A share of `rows`, `hits` of them."""

    hits: int
    rows: int

    @property
    def value(self) -> float:
        """The share."""
        return self.hits / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """Where it lies in 95 % of all cases."""
        return self.within(_Z)

    def within(self, errors: float) -> tuple[float, float]:
        """Wilson's score interval of so many standard errors, which stays within 0 and 1 and holds
        for few rows too.
        """
        n, p = self.rows, self.value
        middle = (p + errors**2 / (2 * n)) / (1 + errors**2 / n)
        half = errors / (1 + errors**2 / n) * sqrt(p * (1 - p) / n + errors**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)


def difference(high: Proportion, low: Proportion, errors: float = _Z) -> tuple[float, float]:
    """Newcombe's interval of `high` less `low`, from the two score intervals."""
    gap = high.value - low.value
    (high_from, high_to), (low_from, low_to) = high.within(errors), low.within(errors)
    down = sqrt((high.value - high_from) ** 2 + (low_to - low.value) ** 2)
    up = sqrt((high_to - high.value) ** 2 + (low.value - low_from) ** 2)
    return gap - down, gap + up


class Allowed(msgspec.Struct, frozen=True):
    """From where on a gap breaks its rule."""

    gap: float | None = None  # None: whatever it is
    errors: float = 0.0  # standard errors that it must lie beyond, all pairs of groups together


class Rates(msgspec.Struct, frozen=True):
    """Both rates by group, of groups with enough rows."""

    selected: Mapping[str, Proportion]
    found: Mapping[str, Proportion]  # of those whose truth is positive
    possible: bool = False  # whether there is a positive answer


def rates(
    told: Answers, real: Answers | None, places: Array, labelled: Array, names: Sequence[str]
) -> Rates:
    """The rates of each named group.

    `places` say which group a row of `told` is in; `labelled` are the numbers of the rows of `real`
    among them.
    """
    if told.positive is None:
        return Rates({}, {})
    everyone = np.ones(len(places), dtype=bool)
    selected = _by_group(told.told == told.positive, everyone, places, names)
    found: dict[str, Proportion] = {}
    if real is not None:
        positive = real.actual == real.positive
        found = _by_group(real.told == real.positive, positive, places[labelled], names)
    return Rates(selected, found, possible=True)


def gaps(
    column: str, told: Rates, usual: Rates, selection: Allowed, true_positives: Allowed
) -> list[Score]:
    """Both gaps of a column; none where the model has no positive answer."""
    if not told.possible:
        return []
    found = [
        _gap(SELECTION_GAP, column, told.selected, usual.selected, "rows"),
        _gap(TRUE_POSITIVE_GAP, column, told.found, usual.found, "labelled positive rows"),
    ]
    return [
        _judged(found[0], told.selected, selection),
        _judged(found[1], told.found, true_positives),
    ]


def _judged(score: Score, groups: Mapping[str, Proportion], allowed: Allowed) -> Score:
    """Whether two groups surely lie further apart than is allowed, which few rows never show."""
    if allowed.gap is None:
        return score
    if score.value is None:
        return replace(score, threshold=allowed.gap)
    surest, high, low = max(
        (difference(groups[one], groups[other], allowed.errors)[0], one, other)
        for one, other in permutations(sorted(groups), 2)
    )
    breached = surest > allowed.gap
    more = f"; surely at least {surest:.3f} between {high} and {low}" if breached else ""
    return replace(score, threshold=allowed.gap, breached=breached, note=score.note + more)


def _by_group(
    hits: Array, among: Array, places: Array, names: Sequence[str]
) -> dict[str, Proportion]:
    found = {}
    for place, name in enumerate(names):
        rows = (places == place) & among
        if rows.sum() >= SMALLEST:
            found[name] = Proportion(int(hits[rows].sum()), int(rows.sum()))
    return found


def _gap(
    name: str,
    column: str,
    groups: Mapping[str, Proportion],
    usual: Mapping[str, Proportion],
    what: str,
) -> Score:
    if len(groups) < 2:
        note = f"fewer than two groups have {SMALLEST} {what}"
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
