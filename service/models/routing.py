"""Resolve a model and a selector to a version. Pure.

- A request without a version is routed to the alias `champion`. If there is no champion, the
  request is refused.
- If an alias moves to a version that is not loaded yet or failed to load, the alias still routes to
  its previous version.
- A version that is unloaded or in quarantine gets no new requests. Accepted requests are answered.
- A candidate, which the release policy does not allow as champion, is reached only by its number
  and by callers with the scope `try`.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from registry.history.lifecycle import DesiredState
from registry.history.rollout_state import Rollout
from registry.history.rows import CHAMPION
from registry.limits import UNCHANGED, LimitChange
from registry.manifest import Version
from service.batching.job import Queue
from service.call import Call, InferenceResponse
from service.protocol.validation import InputCheck

_NOT_SERVED = {"unloaded", "quarantined"}  # states in which the previous version is not used


class LoadedVersion(msgspec.Struct, frozen=True):
    """A version that is loaded and warmed up."""

    version: Version
    check: InputCheck
    queue: Queue[Call, InferenceResponse]
    limits: LimitChange = UNCHANGED  # changes to the manifest's limits
    # Returns the version with other limits; call it in the event loop. Raises InvalidLimits.
    tune: Callable[[LimitChange], "LoadedVersion"] | None = None
    # Ends the version's separate process once its accepted requests are answered.
    retire: Callable[[], None] | None = None


class UnavailableVersion(msgspec.Struct, frozen=True):
    """A version that cannot be used, and the reason."""

    reason: str
    state: Literal["failed", "loading", "unloaded", "quarantined"]


class Canary(msgspec.Struct, frozen=True):
    """A rollout of an alias, and the version that answers a share of the requests."""

    rollout: Rollout
    version: LoadedVersion | UnavailableVersion


class Route(msgspec.Struct, frozen=True):
    """The version that a selector currently resolves to."""

    version: LoadedVersion | UnavailableVersion
    alias: str  # alias that the selector names; "" if the selector is a number
    candidate: str = ""  # why only callers with the scope `try` are allowed; "" if all are allowed
    canary: Canary | None = None


Loaded = Mapping[str, LoadedVersion | UnavailableVersion]  # keyed by version number, oldest first
Routes = dict[tuple[str, str], Route]  # keyed by model and selector


def routes_of(
    model: str,
    loaded: Loaded,
    desired: DesiredState,
    before: Routes,
) -> Routes:
    """Return the routes of one model; `before` are the current routes of all models.

    A version whose content was barred or rejected gets no requests.
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
    """Return the previous version of a route, unless it is unloaded or in quarantine."""
    if route is None or isinstance(route.version, UnavailableVersion):
        return None
    now = loaded.get(route.version.version.number)
    if isinstance(now, LoadedVersion):
        return now  # its limits may have changed
    return None if now is not None and now.state in _NOT_SERVED else route.version
