"""The loaded versions, and which of them a name means: follows the registry while it serves.

A request that names no version is answered by the alias `champion`; where nothing was promoted,
by the newest version that is loaded. A version takes traffic once it is loaded and has run on its
reference rows; one that fails to load is not ready, and an alias that points to it goes on meaning
the version that it meant before. One that was unloaded takes no request from then on, by whatever
name; those it has accepted it still answers.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from eventlog.errors import DriftlineError
from registry.aliases import Standing
from registry.errors import RegistryError, UnknownModel, UnknownVersion
from registry.limits import UNCHANGED, LimitChange
from registry.manifest import Version
from registry.store import ModelState
from registry.workers import WorkerReport
from service.batching.batcher import Queue
from service.call import Answer, Call
from service.errors import NotReady
from service.openinference.validate import InputCheck

CHAMPION = "champion"

_logger = logging.getLogger(__name__)


class Catalogue(Protocol):
    """What of the registry the service follows."""

    def models(self) -> list[str]: ...
    def state(self, model: str) -> ModelState: ...
    def changed(self, since: int) -> set[str]: ...
    def revision(self) -> int: ...


class Served(msgspec.Struct, frozen=True):
    """A version that is loaded and warm."""

    version: Version
    check: InputCheck
    queue: Queue[Call, Answer]
    limits: LimitChange = UNCHANGED  # what holds instead of what its manifest states
    # The same version under other limits, from the event loop; raises InvalidLimits.
    tune: Callable[[LimitChange], "Served"] | None = None


class Absent(msgspec.Struct, frozen=True):
    """A version that is not loaded, and why."""

    reason: str
    wanted: bool = True  # False: it was unloaded, which is nothing to report as unready


class Route(msgspec.Struct, frozen=True):
    """What a name means now."""

    version: Served | Absent
    alias: str  # through which the version was found, "" when its number was named


Loaded = Mapping[str, Served | Absent]  # by version number, oldest first
Routes = dict[tuple[str, str], Route]  # by model and what a request asks for


class Models:
    """Names -> loaded versions; one lookup a request, replaced whole when the registry moves."""

    def __init__(
        self,
        catalogue: Catalogue,
        load: Callable[[Version], Served],
        count_loaded: Callable[[int], None] = lambda _: None,
        report: Callable[[WorkerReport], object] = lambda _: None,
    ) -> None:
        """`load` is called in a thread and raises DriftlineError when a version cannot serve.

        `report` hears what is served, each time the registry was followed.
        """
        self._catalogue = catalogue
        self._load = load
        self._count_loaded = count_loaded
        self._report = report
        self._loaded: dict[str, Loaded] = {}
        self._routes: Routes = {}
        self._refreshing = asyncio.Lock()
        self.revision = -1

    def resolve(self, model: str, asked: str) -> tuple[Served, str]:
        """The version to answer with, and the alias it was found through.

        Raises UnknownModel, UnknownVersion, or NotReady.
        """
        route = self._routes.get((model, asked))
        if route is None:
            raise self._unknown(model, asked)
        if isinstance(route.version, Absent):
            raise NotReady(f"model {model!r}: {route.version.reason}")
        return route.version, route.alias

    def names(self) -> list[str]:
        """The models that can be asked for."""
        return sorted(self._loaded)

    def numbers(self, model: str) -> list[str]:
        """The versions of a model that are loaded, oldest first; raises UnknownModel."""
        return [n for n, one in self.versions(model).items() if isinstance(one, Served)]

    def versions(self, model: str) -> Loaded:
        """Every version of a model, loaded or not, oldest first; raises UnknownModel."""
        if model not in self._loaded:
            raise self._unknown(model, "")
        return self._loaded[model]

    @property
    def ready(self) -> bool:
        """Whether every model answers requests that name no version, or was unloaded."""
        named = [self._routes[model, ""].version for model in self._loaded]
        return not any(isinstance(one, Absent) and one.wanted for one in named)

    async def follow(self, interval: float) -> None:
        """Refresh for ever, every `interval` seconds; a failure is logged and tried again."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.refresh()
            except Exception:
                _logger.exception("cannot follow the registry; serving goes on as before")

    async def refresh(self) -> None:
        """Load what is new and swap the routes, when the registry's revision has moved."""
        async with self._refreshing:
            revision = await asyncio.to_thread(self._catalogue.revision)
            if revision == self.revision:
                return
            self._swap(await asyncio.to_thread(self._read))
            self.revision = revision
        self._count_loaded(sum(len(self.numbers(model)) for model in self._loaded))
        self._report(self._state())

    def _swap(self, found: Mapping[str, tuple[Loaded, Standing]]) -> None:
        """Let the models that changed be what they are now."""
        routes = {key: route for key, route in self._routes.items() if key[0] not in found}
        for model, (versions, standing) in found.items():
            loaded = {n: _tuned(one, standing.limits.get(n)) for n, one in versions.items()}
            self._loaded[model] = loaded
            routes |= routes_of(model, loaded, standing.aliases, self._routes)
        self._routes = routes

    def _state(self) -> WorkerReport:
        """What this worker serves now, as others may read it."""
        state = WorkerReport(self.revision)
        for (model, asked), route in self._routes.items():
            if isinstance(route.version, Served):
                state.serving.setdefault(model, {})[asked] = route.version.version.number
        for model, versions in self._loaded.items():
            for number, one in versions.items():
                if isinstance(one, Absent) and one.wanted:
                    state.unready.setdefault(model, {})[number] = one.reason
        return state

    def _read(self) -> dict[str, tuple[Loaded, Standing]]:
        """What has changed in the registry, loaded; in a thread.

        With it what did not load before: the reason may be gone.
        """
        if self.revision < 0:
            names = set(self._catalogue.models())
        else:
            names = self._catalogue.changed(self.revision) | self._unready()
        found: dict[str, tuple[Loaded, Standing]] = {}
        for model in sorted(names):
            try:
                state = self._catalogue.state(model)
            except RegistryError as error:
                _logger.warning("model %s stays as it was: %s", model, error)
            else:
                found[model] = self._loaded_as(state), state.standing
        return found

    def _unready(self) -> set[str]:
        return {
            model
            for model, versions in self._loaded.items()
            if any(isinstance(one, Absent) and one.wanted for one in versions.values())
        }

    def _loaded_as(self, state: ModelState) -> Loaded:
        unloaded = state.standing.unloaded
        return {
            v.number: _unloaded(v) if v.number in unloaded else self._keep_or_load(v)
            for v in state.versions
        }

    def _keep_or_load(self, version: Version) -> Served | Absent:
        known = self._loaded.get(version.model, {}).get(version.number)
        return known if isinstance(known, Served) else self._try_load(version)

    def _try_load(self, version: Version) -> Served | Absent:
        name = f"version {version.number} of {version.model}"
        try:
            served = self._load(version)
        except DriftlineError as error:
            _logger.warning("%s is not ready: %s", name, error)
            return Absent(f"version {version.number} is not ready: {error}")
        except Exception:  # one version's fault must not keep the others from loading
            _logger.exception("%s is not ready", name)
            return Absent(f"version {version.number} is not ready; the server's log says why")
        _logger.info("%s is loaded", name)
        return served

    def _unknown(self, model: str, asked: str) -> UnknownModel | UnknownVersion:
        if model not in self._loaded:
            known = ", ".join(self.names()) or "none is registered"
            return UnknownModel(f"no model {model[:64]!r}; models: {known}")
        known = ", ".join(name for of, name in self._routes if of == model and name)
        return UnknownVersion(
            f"model {model!r} has no version or alias {asked[:64]!r}; it has: {known}"
        )


def routes_of(model: str, loaded: Loaded, aliases: Mapping[str, str], before: Routes) -> Routes:
    """What every name of one model means; `loaded` is oldest first."""
    routes: Routes = {(model, number): Route(one, "") for number, one in loaded.items()}
    for alias, number in aliases.items():
        version = loaded.get(number, Absent(f"version {number} does not exist"))
        if isinstance(version, Absent) and version.wanted:
            version = _still_served(before.get((model, alias)), loaded) or version
        routes[model, alias] = Route(version, alias)
    oldest_first = list(loaded.values())
    newest = next((one for one in oldest_first[::-1] if isinstance(one, Served)), oldest_first[-1])
    routes[model, ""] = routes.get((model, CHAMPION)) or Route(newest, "")
    return routes


def _still_served(route: Route | None, loaded: Loaded) -> Served | None:
    """What a name meant before, unless that was unloaded meanwhile."""
    if route is None or isinstance(route.version, Absent):
        return None
    now = loaded.get(route.version.version.number)
    if isinstance(now, Served):
        return now  # perhaps under other limits
    return route.version if now is None or now.wanted else None


def _tuned(one: Served | Absent, wanted: LimitChange | None) -> Served | Absent:
    """The version under the limits that it shall have."""
    limits = wanted or UNCHANGED
    if isinstance(one, Absent) or one.tune is None or one.limits == limits:
        return one
    name = f"version {one.version.number} of {one.version.model}"
    try:
        tuned = one.tune(limits)
    except RegistryError as error:
        _logger.warning("%s keeps its limits: %s", name, error)
        return one
    _logger.info("%s has other limits: %s", name, limits.stated() or "those of its manifest")
    return tuned


def _unloaded(version: Version) -> Absent:
    return Absent(f"version {version.number} was unloaded", wanted=False)
