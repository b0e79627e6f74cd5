"""Rules of every score: isolation of failures, and minimum sample size.

If the computation of a score fails, the score has no value, and the window's other scores are
computed regardless.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from monitoring.results import Score

Array = np.ndarray[Any, Any]

MIN_VALUES = 30  # minimum values or rows of a statistic

_logger = logging.getLogger(__name__)

_LONGEST = 200  # maximum characters of an error's text


def attempt(
    name: str, compute: Callable[[], Iterable[Score]], *, column: str = "", segment: str = ""
) -> list[Score]:
    """Return the scores of `compute`; if it raises, return one score with the reason as its note.

    `name`, `column` and `segment` identify this score.

    Raises:
        MemoryError: another try of the whole window may succeed.
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
