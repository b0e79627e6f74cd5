"""Remembers what a function said for as long as the object lives that it was asked about."""

from collections.abc import Callable
from functools import update_wrapper
from typing import TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

_Owner = TypeVar("_Owner")
_Rest = TypeVarTuple("_Rest")
_Told = TypeVar("_Told")


def remembered(
    function: Callable[[_Owner, *_Rest], _Told],
) -> Callable[[_Owner, *_Rest], _Told]:
    """A function of an object, and of further arguments that can be keys, called once for each.

    What it returns must not hold the object, which then would never go.
    """
    told: WeakKeyDictionary[_Owner, dict[tuple[*_Rest], _Told]] = WeakKeyDictionary()

    def ask(owner: _Owner, *rest: *_Rest) -> _Told:
        known = told.setdefault(owner, {})
        if rest not in known:
            known[rest] = function(owner, *rest)
        return known[rest]

    return update_wrapper(ask, function)
