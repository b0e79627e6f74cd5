"""Pick the rows of one period for review, each with its inclusion probability. Pure.

The selection has three parts. The uncertain part prefers rows with a low margin, the diverse part
prefers rows of rare strata, and the random part treats all rows alike. Each part is a priority
sample (Duffield, Lund and Thorup 2007): a row's priority is `uniform / weight`, and the part picks
the `size` rows with the smallest priorities. Given the priorities of all other rows, a row is
picked if its own priority is below a threshold tau, which has the probability
min(1, weight * tau). The parts use independent hashes, so the probability that at least one part
picks a row is

    inclusion = 1 - (1 - p_uncertain) (1 - p_diverse) (1 - p_random).

A sum over picked rows, weighted by 1 / inclusion, is an unbiased estimate of the sum over all rows.
Because of the random part, every row's inclusion is above 0.

Priorities are derived from the event's id, which callers cannot choose. The same rows are therefore
picked, whatever the order, the batches and the duplicates in which events arrive.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import inf
from typing import Literal

import msgspec

from registry.manifest import ReviewPolicy

DAY = 86_400  # seconds
STRATA = 16  # number of groups of rows with similar features
_SHARPNESS = 8  # exponent of the weight (1 - margin) ** 8: 0.43 for a margin of 0.1, 0.004 for 0.5

Part = Literal["uncertain", "diverse", "random"]
PARTS: tuple[Part, ...] = ("uncertain", "diverse", "random")
Place = tuple[str, int]  # key that joins a prediction to its labels, and number of the row


class Sizes(msgspec.Struct, frozen=True):
    """The number of rows that each part picks in a period."""

    uncertain: int
    diverse: int
    random: int

    @classmethod
    def of(cls, policy: ReviewPolicy, seconds: int) -> "Sizes":
        """Divide a period's budget; the random part gets the rest, which is at least one row."""
        budget = max(1, policy.per_day * seconds // DAY)
        uncertain = min(round(policy.uncertain * budget), budget - 1)
        diverse = min(round(policy.diverse * budget), budget - 1 - uncertain)
        return cls(uncertain, diverse, budget - uncertain - diverse)

    @property
    def budget(self) -> int:
        """The number of rows that all parts pick together."""
        return self.uncertain + self.diverse + self.random


class ReviewCandidate(msgspec.Struct, frozen=True):
    """The properties of a row that the selection uses."""

    place: Place
    uniforms: tuple[float, float, float]  # random numbers in ]0, 1[, one for each part
    margin: float | None  # difference between the two greatest class probabilities, if known
    stratum: int  # group of similar rows


class Choice(msgspec.Struct, frozen=True):
    """A picked row."""

    place: Place
    inclusion: float  # probability that the row was picked
    parts: list[Part]  # parts of the selection that picked the row


def uniforms(event_id: str, row: int) -> tuple[float, float, float]:
    """Return three independent numbers in ]0, 1[, derived from the event's id and the row."""
    digest = blake2b(f"{event_id}/{row}".encode(), digest_size=24, person=b"review").digest()
    first, second, third = (int.from_bytes(digest[at : at + 8], "big") for at in (0, 8, 16))
    return _unit(first), _unit(second), _unit(third)


def _unit(number: int) -> float:
    return ((number >> 12) + 0.5) / (1 << 52)


class PeriodSelection:
    """The rows of one period that can still be picked; their number is bounded.

    Each part needs the rows with its smallest priorities, and one further row for its threshold.
    Weights in the diverse part are known only when the period ends. Within a stratum all weights
    are equal, so the order of the rows is known earlier.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.strata = [0] * STRATA  # number of rows in each stratum
        self.scored = 0  # number of rows with a margin
        self._candidates: dict[Place, ReviewCandidate] = {}
        budget = sizes.budget
        # If too few rows have a margin, the random part picks the rest of the uncertain rows.
        self._lowest = [_Lowest(sizes.uncertain + 1), _Lowest(budget + 1)]
        self._by_stratum = [_Lowest(sizes.diverse + 1) for _ in range(STRATA)]

    def count(self, stratum: int, margin: float | None) -> None:
        """Count a row of the period, even if it cannot be picked."""
        self.strata[stratum] += 1
        self.scored += uncertainty(margin) > 0

    def resume(
        self, strata: Sequence[int], scored: int, candidates: Iterable[ReviewCandidate]
    ) -> None:
        """Restore the selection from stored counts and candidates."""
        self.strata, self.scored = list(strata), scored
        for candidate in candidates:
            self.offer(candidate)

    def offer(self, candidate: ReviewCandidate) -> tuple[bool, list[Place]]:
        """Add a row; return whether it can be picked, and the rows that no longer can."""
        if candidate.place in self._candidates:
            return False, []
        dropped: list[Place] = []
        for lowest, priority in self._priorities(candidate):
            if (removed := lowest.offer(priority, candidate.place)) is not None:
                dropped.append(removed)
        self._candidates[candidate.place] = candidate
        displaced = [
            place for place in {*dropped} if not self._can_be_picked(self._candidates[place])
        ]
        for place in displaced:
            del self._candidates[place]
        others = [place for place in displaced if place != candidate.place]
        return candidate.place in self._candidates, others

    def choose(self, sizes: Sizes) -> list[Choice]:
        """Return the picked rows in a random order, which every process reproduces.

        `sizes` must not exceed the sizes that the constructor was called with.
        """
        uncertain = min(sizes.uncertain, self.scored)
        spare = sizes.uncertain - uncertain
        draws = [
            _PartSample(
                [_priority(c.uniforms[0], uncertainty(c.margin)) for c in self._all()], uncertain
            ),
            _PartSample(
                [c.uniforms[1] * self.strata[c.stratum] for c in self._all()], sizes.diverse
            ),
            _PartSample([c.uniforms[2] for c in self._all()], sizes.random + spare),
        ]
        chosen: list[tuple[float, Choice]] = []
        for number, candidate in enumerate(self._all()):
            weights = uncertainty(candidate.margin), 1 / self.strata[candidate.stratum], 1.0
            parts = [part for part, draw in zip(PARTS, draws, strict=True) if draw.has(number)]
            exclusion = 1.0  # probability that no part picks the row
            for draw, weight in zip(draws, weights, strict=True):
                exclusion *= 1 - draw.probability(number, weight)
            if parts:
                # The sum of all three numbers, so that the order prefers no part.
                order = sum(candidate.uniforms) % 1
                chosen.append((order, Choice(candidate.place, 1 - exclusion, parts)))
        return [choice for _, choice in sorted(chosen, key=lambda pair: (pair[0], pair[1].place))]

    def _all(self) -> list[ReviewCandidate]:
        return list(self._candidates.values())

    def _priorities(self, candidate: ReviewCandidate) -> "list[tuple[_Lowest, float]]":
        return [
            (self._lowest[0], _priority(candidate.uniforms[0], uncertainty(candidate.margin))),
            (self._by_stratum[candidate.stratum], candidate.uniforms[1]),
            (self._lowest[1], candidate.uniforms[2]),
        ]

    def _can_be_picked(self, candidate: ReviewCandidate) -> bool:
        return any(
            lowest.contains(priority, candidate.place)
            for lowest, priority in self._priorities(candidate)
        )


def uncertainty(margin: float | None) -> float:
    """Return a row's weight in the uncertain part; 0 if that part never picks the row."""
    return 0.0 if margin is None else max(0.0, 1 - margin) ** _SHARPNESS


def _priority(uniform: float, weight: float) -> float:
    return uniform / weight if weight else inf


class _Lowest:
    """The rows with the smallest priorities, at most `size`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: list[tuple[float, Place]] = []

    def offer(self, priority: float, place: Place) -> Place | None:
        """Add a row; return the row that is no longer among the smallest, if any."""
        if priority == inf:
            return place
        insort(self._rows, (priority, place))
        return self._rows.pop()[1] if len(self._rows) > self._size else None

    def contains(self, priority: float, place: Place) -> bool:
        return bool(self._rows) and (priority, place) <= self._rows[-1] and priority < inf


class _PartSample:
    """The rows that one part picks, by index, and the thresholds of its priorities."""

    def __init__(self, priorities: Sequence[float], size: int) -> None:
        order = sorted(
            (priority, number) for number, priority in enumerate(priorities) if priority < inf
        )
        self._rows = {number for _, number in order[:size]}
        # The threshold of a picked row is the smallest priority of the other rows. The threshold
        # of any other row is the greatest priority of the picked rows.
        self._inside = order[size][0] if len(order) > size else inf
        self._outside = order[size - 1][0] if 0 < size <= len(order) else 0.0

    def has(self, number: int) -> bool:
        return number in self._rows

    def probability(self, number: int, weight: float) -> float:
        """Return the probability that the part picks this row, given all other priorities."""
        tau = self._inside if number in self._rows else self._outside
        return min(1.0, weight * tau) if weight else 0.0
