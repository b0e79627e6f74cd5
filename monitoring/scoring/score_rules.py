"""One part or one column that fails says so, and takes nothing else of the window with it."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from monitoring.results import Score

Array = np.ndarray[Any, Any]

SMALLEST = 30  # values; fewer say nothing

_logger = logging.getLogger(__name__)

_LONGEST = 200  # characters of an error's text


def attempt(
    name: str, compute: Callable[[], Iterable[Score]], *, column: str = "", segment: str = ""
) -> list[Score]:
    """The scores that `compute` gives, or one without a value that says why there are none.

    `name`, `column` and `segment` are those of the score that stands for a part that fails.
    """
    try:
        return list(compute())
    except Exception as error:
        _logger.exception("%s could not be computed", f"{name} {column} {segment}".strip())
        return [Score(name=name, column=column, segment=segment, value=None, note=failure(error))]


def failure(error: Exception) -> str:
    """What went wrong, on one line."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"could not be computed: {said[:_LONGEST]}"


def significant(value: float) -> float:
    """Round to nine significant digits, so that a score's last bits never differ."""
    return float(f"{value:.9g}")
