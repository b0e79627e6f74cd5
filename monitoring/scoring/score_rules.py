"""Rules that hold for every score: isolation of failures, smallest sample.

A part or a column that fails yields a score without a value; the rest of the window is unaffected.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from monitoring.results import Score

Array = np.ndarray[Any, Any]

MIN_VALUES = 30  # values or rows; no statistic is computed from fewer

_logger = logging.getLogger(__name__)

_LONGEST = 200  # characters of an error's text


def attempt(
    name: str, compute: Callable[[], Iterable[Score]], *, column: str = "", segment: str = ""
) -> list[Score]:
    """Return the scores of `compute`; if it raises, one score without a value and with the reason.

    `name`, `column` and `segment` identify that one score. Raises nothing but MemoryError: another
    try of the whole window may succeed.
    """
    try:
        return list(compute())
    except MemoryError:
        raise
    except Exception as error:
        _logger.exception("%s could not be computed", f"{name} {column} {segment}".strip())
        return [
            Score(name=name, column=column, segment=segment, value=None, note=failure_note(error))
        ]


def failure_note(error: Exception) -> str:
    """Describe an exception on one line, for a score's note."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"could not be computed: {text[:_LONGEST]}"
