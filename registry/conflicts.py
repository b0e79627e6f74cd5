"""Retry a change of the registry that conflicts with the changes of other writers."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from registry.errors import RegistryConflict

_ATTEMPTS = 5

_Result = TypeVar("_Result")


def retry_conflicts(change: Callable[[], _Result]) -> _Result:
    """Return the result of `change`; retry it after a RegistryConflict, up to five attempts.

    `change` must read the registry's state itself, because each attempt sees a new state. Raises
    RegistryConflict if the last attempt fails.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(RegistryConflict):
            return change()
    return change()
