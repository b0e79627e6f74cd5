"""Click types of numbers: finite numbers, and integers that fit into a database column."""

import math
from typing import Any

import click

_LARGEST = 2**63 - 1


class _Finite(click.types.FloatParamType):
    """A finite number; `nan` must be refused explicitly because it passes range checks."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not finite.", param, ctx)
        return number


class FiniteRange(click.FloatRange):
    """A finite number within bounds."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; raises BadParameter."""
        number: float = super().convert(value, param, ctx)
        return FINITE.convert(number, param, ctx)


class _Integer(click.types.IntParamType):
    """An integer of at most 64 bits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if not -_LARGEST <= number <= _LARGEST:
            self.fail(f"{value!r} has more than 64 bits.", param, ctx)
        return number


FINITE = _Finite()
INTEGER = _Integer()
SECONDS = FiniteRange(min=0)
