"""How many users are at work when, and how far drift has come. Pure.

Everything that decides the course of a load lives here. A shape is a function of the share of
the run that has passed, 0 to 1.
"""

from collections.abc import Callable
from typing import Literal, get_args

Name = Literal["steady", "step", "spike", "soak", "overload", "drift"]
NAMES: tuple[Name, ...] = get_args(Name)
OVERLOAD = (1, 2, 5, 10)  # times the users, one after the other

_RAMP = 0.05  # share of a soak in which its users come


def users_at(shape: Name, passed: float, users: int) -> int:
    """How many users are at work; at least one, and at most ten times `users`."""
    return max(1, round(users * _SHAPES[shape](passed)))


def drift_at(shape: Name, passed: float) -> float:
    """How strong stated drift is, 0 to 1: grows through the middle third of the drift shape.

    Under every other shape it is there from the beginning.
    """
    if shape != "drift":
        return 1.0
    return min(max(3 * passed - 1, 0.0), 1.0)


def _steady(_passed: float) -> float:
    return 1.0


def _step(passed: float) -> float:
    """A quarter of the users more with each quarter of the run."""
    return min(int(4 * passed) + 1, 4) / 4


def _spike(passed: float) -> float:
    """A tenth of the users, and all of them for the fifth in the middle."""
    return 1.0 if 0.4 <= passed < 0.6 else 0.1


def _soak(passed: float) -> float:
    """All of them for a long time, after they have come slowly."""
    return min(passed / _RAMP, 1.0)


def _overload(passed: float) -> float:
    return OVERLOAD[min(int(len(OVERLOAD) * passed), len(OVERLOAD) - 1)]


_SHAPES: dict[Name, Callable[[float], float]] = {
    "steady": _steady,
    "step": _step,
    "spike": _spike,
    "soak": _soak,
    "overload": _overload,
    "drift": _steady,
}
