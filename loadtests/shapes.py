"""Load shapes: the number of users and the strength of drift over time.

A shape is a pure function of `passed`, the elapsed share of the run, from 0 to 1.
"""

from collections.abc import Callable
from typing import Literal, get_args

Name = Literal["steady", "step", "spike", "soak", "overload", "drift"]
NAMES: tuple[Name, ...] = get_args(Name)
OVERLOAD = (1, 2, 5, 10)  # multiples of `users` in the four quarters of the shape `overload`

_RAMP = 0.05  # share of a soak run in which the users start


def users_at(shape: Name, passed: float, users: int) -> int:
    """Return the number of active users, from 1 to ten times `users`."""
    return max(1, round(users * _SHAPES[shape](passed)))


def drift_at(shape: Name, passed: float) -> float:
    """Return the strength of drift, from 0 to 1.

    In the shape `drift`, it grows during the middle third; in every other shape it is 1.
    """
    if shape != "drift":
        return 1.0
    return min(max(3 * passed - 1, 0.0), 1.0)


def _steady(_passed: float) -> float:
    return 1.0


def _step(passed: float) -> float:
    """Add a quarter of the users in each quarter of the run."""
    return min(int(4 * passed) + 1, 4) / 4


def _spike(passed: float) -> float:
    """Use a tenth of the users, but all of them in the middle fifth of the run."""
    return 1.0 if 0.4 <= passed < 0.6 else 0.1


def _soak(passed: float) -> float:
    """Start the users slowly, then keep all of them."""
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
