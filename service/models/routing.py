"""Resolve a model and selector to the version that serves it. Pure.

A request without a version goes to the alias `champion`. Without that alias it has no route: no
version takes traffic before it is promoted. A version takes traffic once it is loaded and has run
its reference rows. Until then, or if it fails, an alias keeps its previous version. An unloaded
version, or one in quarantine, takes no new requests under any name; accepted ones are still
answered. A candidate, which a release policy does not allow to be champion, is reached by its
number alone, by callers who may try it.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from registry.history.rollout_state import Rollout
from registry.history.rows import CHAMPION
from registry.history.state import DesiredState
from registry.limits import UNCHANGED, LimitChange
from registry.manifest import Version
from service.batching.job import Queue
from service.call import Call, InferenceResponse
from service.protocol.validation import InputCheck

_NOT_SERVED = {"unloaded", "quarantined"}  # no earlier version replaces one in these states


class LoadedVersion(msgspec.Struct, frozen=True):
    """A version that is loaded and warm."""

    version: Version
    check: InputCheck
    queue: Queue[Call, InferenceResponse]
    limits: LimitChange = UNCHANGED  # instead of the manifest's limits
    # The same version under other limits, from the event loop; raises InvalidLimits.
    tune: Callable[[LimitChange], "LoadedVersion"] | None = None
    # Ends its processes outside the worker, once its accepted requests are answered.
    retire: Callable[[], None] | None = None


class UnavailableVersion(msgspec.Struct, frozen=True):
    """A version that is not loaded, and why."""

    reason: str
    state: Literal["failed", "loading", "unloaded", "quarantined"]


class Canary(msgspec.Struct, frozen=True):
    """The version that answers a share of the requests for an alias."""

    rollout: Rollout
    version: LoadedVersion | UnavailableVersion


class Route(msgspec.Struct, frozen=True):
    """The version that a name resolves to now."""

    version: LoadedVersion | UnavailableVersion
    alias: str  # through which the version was found, "" when its number was named
    candidate: str = ""  # why only callers with the scope `try` reach it; "" if all do
    canary: Canary | None = None


Loaded = Mapping[str, LoadedVersion | UnavailableVersion]  # keyed by version number, oldest first
Routes = dict[tuple[str, str], Route]  # keyed by model and selector


def routes_of(
    model: str,
    loaded: Loaded,
    desired: DesiredState,
    before: Routes,
) -> Routes:
    """Return the routes of one model; `loaded` is oldest first.

    A version whose content was barred or rejected has no route by its number.
    """
    allowed = {
        number: _candidate(number, desired.candidates[number])
        if number in desired.candidates
        else version
        for number, version in loaded.items()
    }
    routes: Routes = {}
    for number, loaded_version in loaded.items():
        is_candidate = number in desired.candidates and number not in desired.refused
        routes[model, number] = (
            Route(loaded_version, "", _not_released(number, desired.candidates[number]))
            if is_candidate
            else Route(allowed[number], "")
        )
    for alias, number in desired.aliases.items():
        version = loaded.get(
            number, UnavailableVersion(f"version {number} does not exist", "failed")
        )
        if isinstance(version, UnavailableVersion) and version.state not in _NOT_SERVED:
            version = _still_served(before.get((model, alias)), loaded) or version
        canary = None
        if (rollout := desired.rollouts.get(alias)) is not None and rollout.number in allowed:
            canary = Canary(rollout, allowed[rollout.number])
        routes[model, alias] = Route(version, alias, canary=canary)
    if (champion := routes.get((model, CHAMPION))) is not None:
        routes[model, ""] = champion
    return routes


def _candidate(number: str, reason: str) -> UnavailableVersion:
    return UnavailableVersion(_not_released(number, reason), "unloaded")


def _not_released(number: str, reason: str) -> str:
    return f"version {number} is not released: {reason}"


def _still_served(route: Route | None, loaded: Loaded) -> LoadedVersion | None:
    """Return the previous version of a name, unless it was unloaded."""
    if route is None or isinstance(route.version, UnavailableVersion):
        return None
    now = loaded.get(route.version.version.number)
    if isinstance(now, LoadedVersion):
        return now  # perhaps under other limits
    return None if now is not None and now.state in _NOT_SERVED else route.version
