"""Repeat a change that reads the registry's state first, while another writer is faster."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from registry.errors import RegistryConflict

_ATTEMPTS = 5

_Result = TypeVar("_Result")


def retry_conflicts(change: Callable[[], _Result]) -> _Result:
    """Return the result of a change that reads the state and states the revision that it read.

    Repeats the whole change, the reading too, so it must be right on any state. Raises
    RegistryConflict after five attempts.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(RegistryConflict):
            return change()
    return change()
