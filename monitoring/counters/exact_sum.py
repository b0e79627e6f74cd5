"""Sum floats without rounding, so that the sum does not depend on their order."""

from collections.abc import Sequence

import msgspec


def to_integers(values: Sequence[float]) -> tuple[list[int], int]:
    """Return finite floats as integers and a common `shift`: each is `integer / 2**shift`."""
    ratios = [value.as_integer_ratio() for value in values]
    # A float's denominator is a power of 2.
    shift = max((denominator.bit_length() - 1 for _, denominator in ratios), default=0)
    integers = [
        numerator << shift + 1 - denominator.bit_length() for numerator, denominator in ratios
    ]
    return integers, shift


class ExactSum(msgspec.Struct, frozen=True):
    """The number `int(digits, 16) / 2**shift`, in lowest terms, so equal numbers have equal JSON.

    The digits are text, because JSON readers limit the size of integers.
    """

    digits: str = "0"
    shift: int = 0

    @classmethod
    def of(cls, numerator: int, shift: int) -> "ExactSum":
        """Return the number `numerator / 2**shift`."""
        if not numerator:
            return cls()
        twos = min(shift, (numerator & -numerator).bit_length() - 1)  # common factors of 2
        return cls(f"{numerator >> twos:x}", shift - twos)

    @property
    def numerator(self) -> int:
        """The number times `2**shift`."""
        return int(self.digits, 16)

    def __add__(self, other: "ExactSum") -> "ExactSum":
        """Return the sum."""
        shift = max(self.shift, other.shift)
        total = (self.numerator << shift - self.shift) + (other.numerator << shift - other.shift)
        return ExactSum.of(total, shift)

    def __neg__(self) -> "ExactSum":
        """Return the number with its sign changed."""
        return ExactSum.of(-self.numerator, self.shift)

    def mean(self, count: int) -> float:
        """Return the mean of `count` numbers with this sum: the nearest float, or infinity."""
        try:
            return self.numerator / (count << self.shift)
        except OverflowError:
            return float("-inf") if self.digits.startswith("-") else float("inf")
