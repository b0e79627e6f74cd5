"""Shares with their 95 % intervals, and the difference of two of them. Pure."""

from math import sqrt

import msgspec

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
