"""Pick the rows of one period for review, each with its inclusion probability. Pure.

Three parts pick rows with probabilities that differ: uncertain rows by a low margin, diverse rows
by a rare stratum, random rows alike. Each part is a priority sample (Duffield, Lund and Thorup
2007): of the priorities `uniform / weight`, it takes the `size` smallest. Given the priorities of
all other rows, a row is taken if its own is below a threshold tau, so with probability
min(1, weight * tau). The parts use independent hashes, so a row is picked by any of them with

    inclusion = 1 - (1 - p_uncertain) (1 - p_diverse) (1 - p_random),

and sums over picked rows weighted by 1 / inclusion are unbiased for sums over all rows. The random
part gives every row an inclusion above 0.

Priorities derive from the event's id, which no caller chooses. So the same rows are picked in
whatever order, batches and number of copies they come.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import inf
from typing import Literal

import msgspec

from registry.manifest import ReviewPolicy

DAY = 86_400
STRATA = 16  # number of groups of rows with similar features
_SHARPNESS = 8  # exponent of the weight (1 - margin) ** 8: 0.43 for a margin of 0.1, 0.004 for 0.5

Part = Literal["uncertain", "diverse", "random"]
PARTS: tuple[Part, ...] = ("uncertain", "diverse", "random")
Place = tuple[str, int]  # what joins a prediction to its labels, and the row


class Sizes(msgspec.Struct, frozen=True):
    """The number of rows that each part selects in a period."""

    uncertain: int
    diverse: int
    random: int

    @classmethod
    def of(cls, policy: ReviewPolicy, seconds: int) -> "Sizes":
        """Share the budget of a period; the random part has what is left, and at least one row."""
        budget = max(1, policy.per_day * seconds // DAY)
        uncertain = min(round(policy.uncertain * budget), budget - 1)
        diverse = min(round(policy.diverse * budget), budget - 1 - uncertain)
        return cls(uncertain, diverse, budget - uncertain - diverse)

    @property
    def budget(self) -> int:
        """All parts together."""
        return self.uncertain + self.diverse + self.random


class ReviewCandidate(msgspec.Struct, frozen=True):
    """The properties of a row that the selection uses."""

    place: Place
    uniforms: tuple[float, float, float]  # random numbers in ]0, 1[, one for each part
    margin: float | None  # margin between the probabilities of the two best classes; None: no score
    stratum: int


class Choice(msgspec.Struct, frozen=True):
    """A picked row."""

    place: Place
    inclusion: float  # probability that it was picked
    parts: list[Part]  # parts of the selection that picked the row


def uniforms(event_id: str, row: int) -> tuple[float, float, float]:
    """Return three independent numbers in ]0, 1[ that belong to one row."""
    digest = blake2b(f"{event_id}/{row}".encode(), digest_size=24, person=b"review").digest()
    first, second, third = (int.from_bytes(digest[at : at + 8], "big") for at in (0, 8, 16))
    return _unit(first), _unit(second), _unit(third)


def _unit(number: int) -> float:
    return ((number >> 12) + 0.5) / (1 << 52)


class PeriodSelection:
    """The rows of one period that may still be picked; a bounded number, whatever comes.

    Every part needs the rows with its smallest priorities, and one more for its threshold. The
    weights of diverse rows are known only at the end, but not their order within a stratum.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.strata = [0] * STRATA  # rows of each
        self.scored = 0  # rows with a margin
        self._known: dict[Place, ReviewCandidate] = {}
        budget = sizes.budget
        # The random part also gets the budget of uncertain rows where rows have no score.
        self._lowest = [_Lowest(sizes.uncertain + 1), _Lowest(budget + 1)]
        self._by_stratum = [_Lowest(sizes.diverse + 1) for _ in range(STRATA)]

    def count(self, stratum: int, margin: float | None) -> None:
        """Count a row of the period, whether it may be picked or not."""
        self.strata[stratum] += 1
        self.scored += certainty(margin) > 0

    def resume(
        self, strata: Sequence[int], scored: int, candidates: Iterable[ReviewCandidate]
    ) -> None:
        """Continue from stored counts and rows."""
        self.strata, self.scored = list(strata), scored
        for candidate in candidates:
            self.offer(candidate)

    def offer(self, candidate: ReviewCandidate) -> tuple[bool, list[Place]]:
        """Return whether the row may be picked, and the rows that it displaces."""
        if candidate.place in self._known:
            return False, []
        dropped: list[Place] = []
        for lowest, priority in self._priorities(candidate):
            if (out := lowest.offer(priority, candidate.place)) is not None:
                dropped.append(out)
        self._known[candidate.place] = candidate
        gone = [place for place in {*dropped} if not self._is_held(self._known[place])]
        for place in gone:
            del self._known[place]
        return candidate.place in self._known, [place for place in gone if place != candidate.place]

    def choose(self, sizes: Sizes) -> list[Choice]:
        """Return the picked rows, in a random order that any reader reproduces.

        `sizes` are at most those that the period began with.
        """
        uncertain = min(sizes.uncertain, self.scored)
        spare = sizes.uncertain - uncertain
        draws = [
            _Taken([_priority(c.uniforms[0], certainty(c.margin)) for c in self._all()], uncertain),
            _Taken([c.uniforms[1] * self.strata[c.stratum] for c in self._all()], sizes.diverse),
            _Taken([c.uniforms[2] for c in self._all()], sizes.random + spare),
        ]
        chosen: list[tuple[float, Choice]] = []
        for number, candidate in enumerate(self._all()):
            weights = certainty(candidate.margin), 1 / self.strata[candidate.stratum], 1.0
            parts = [part for part, of in zip(PARTS, draws, strict=True) if of.has(number)]
            missed = 1.0
            for of, weight in zip(draws, weights, strict=True):
                missed *= 1 - of.probability(number, weight)
            if parts:
                order = sum(candidate.uniforms) % 1  # depends on all three equally
                chosen.append((order, Choice(candidate.place, 1 - missed, parts)))
        return [choice for _, choice in sorted(chosen, key=lambda pair: (pair[0], pair[1].place))]

    def _all(self) -> list[ReviewCandidate]:
        return list(self._known.values())

    def _priorities(self, candidate: ReviewCandidate) -> "list[tuple[_Lowest, float]]":
        return [
            (self._lowest[0], _priority(candidate.uniforms[0], certainty(candidate.margin))),
            (self._by_stratum[candidate.stratum], candidate.uniforms[1]),
            (self._lowest[1], candidate.uniforms[2]),
        ]

    def _is_held(self, candidate: ReviewCandidate) -> bool:
        return any(
            lowest.holds(priority, candidate.place)
            for lowest, priority in self._priorities(candidate)
        )


def certainty(margin: float | None) -> float:
    """Return the weight of a row among the uncertain rows; 0: never picked as uncertain."""
    return 0.0 if margin is None else max(0.0, 1 - margin) ** _SHARPNESS


def _priority(uniform: float, weight: float) -> float:
    return uniform / weight if weight else inf


class _Lowest:
    """The rows with the smallest priorities, at most `size`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: list[tuple[float, Place]] = []

    def offer(self, priority: float, place: Place) -> Place | None:
        """Return the row that is out now: the offered one, another, or none."""
        if priority == inf:
            return place
        insort(self._rows, (priority, place))
        return self._rows.pop()[1] if len(self._rows) > self._size else None

    def holds(self, priority: float, place: Place) -> bool:
        return bool(self._rows) and (priority, place) <= self._rows[-1] and priority < inf


class _Taken:
    """The rows that a part selects, by number, and the thresholds left to the other parts."""

    def __init__(self, priorities: Sequence[float], size: int) -> None:
        order = sorted(
            (priority, number) for number, priority in enumerate(priorities) if priority < inf
        )
        self._rows = {number for _, number in order[:size]}
        # A row that is taken is below the first one that is not. A row that is not taken is at or
        # above the last one that is.
        self._inside = order[size][0] if len(order) > size else inf
        self._outside = order[size - 1][0] if 0 < size <= len(order) else 0.0

    def has(self, number: int) -> bool:
        return number in self._rows

    def probability(self, number: int, weight: float) -> float:
        """Return the probability that the part takes this row, given all others."""
        tau = self._inside if number in self._rows else self._outside
        return min(1.0, weight * tau) if weight else 0.0
