"""The loaded versions, and which of them a name means: follows the registry while it serves.

A request that names no version is answered by the alias `champion`; where nothing was promoted,
by the newest version that is loaded. A version takes traffic once it is loaded and has run on its
reference rows; one that fails to load is not ready, and an alias that points to it goes on meaning
the version that it meant before.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from eventlog.errors import DriftlineError
from registry.errors import RegistryError, UnknownModel, UnknownVersion
from registry.manifest import Version
from service.batching.batcher import Batcher
from service.call import Answer, Call
from service.errors import NotReady
from service.openinference.validate import InputCheck

CHAMPION = "champion"

_logger = logging.getLogger(__name__)


class Catalogue(Protocol):
    """What of the registry the service follows."""

    def models(self) -> list[str]: ...
    def versions(self, model: str) -> list[Version]: ...
    def aliases(self, model: str) -> dict[str, str]: ...
    def revision(self) -> int: ...


class Served(msgspec.Struct, frozen=True):
    """A version that is loaded and warm."""

    version: Version
    check: InputCheck
    batcher: Batcher[Call, Answer]


class Route(msgspec.Struct, frozen=True):
    """What a name means now."""

    served: Served | None
    alias: str  # through which the version was found, "" when its number was named
    problem: str = ""  # why nothing is served


Loaded = Mapping[str, Served | str]  # by version number; a string says why it is not loaded
Routes = dict[tuple[str, str], Route]  # by model and what a request asks for


class Models:
    """Names -> loaded versions; one lookup a request, replaced whole when the registry moves."""

    def __init__(
        self,
        catalogue: Catalogue,
        load: Callable[[Version], Served],
        count_loaded: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`load` is called in a thread and raises DriftlineError when a version cannot serve."""
        self._catalogue = catalogue
        self._load = load
        self._count_loaded = count_loaded
        self._loaded: dict[str, dict[str, Served | str]] = {}
        self._routes: Routes = {}
        self.revision = -1

    def resolve(self, model: str, asked: str) -> tuple[Served, str]:
        """The version to answer with, and the alias it was found through.

        Raises UnknownModel, UnknownVersion, or NotReady.
        """
        route = self._routes.get((model, asked))
        if route is None:
            raise self._unknown(model, asked)
        if route.served is None:
            raise NotReady(f"model {model!r}: {route.problem}")
        return route.served, route.alias

    def names(self) -> list[str]:
        """The models that can be asked for."""
        return sorted(self._loaded)

    def numbers(self, model: str) -> list[str]:
        """The versions of a model that are loaded, oldest first; raises UnknownModel."""
        if model not in self._loaded:
            raise self._unknown(model, "")
        return [n for n, served in self._loaded[model].items() if isinstance(served, Served)]

    @property
    def ready(self) -> bool:
        """Whether every model answers requests that name no version."""
        return all(self._routes[model, ""].served is not None for model in self._loaded)

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
        revision = await asyncio.to_thread(self._catalogue.revision)
        if revision == self.revision:
            return
        loaded, routes = await asyncio.to_thread(self._read)
        self._loaded, self._routes, self.revision = loaded, routes, revision
        self._count_loaded(sum(len(self.numbers(model)) for model in loaded))

    def _read(self) -> tuple[dict[str, dict[str, Served | str]], Routes]:
        """What the registry holds now, loaded; in a thread."""
        loaded: dict[str, dict[str, Served | str]] = {}
        routes: Routes = {}
        for model in self._catalogue.models():
            try:
                versions, aliases = self._catalogue.versions(model), self._catalogue.aliases(model)
            except RegistryError as error:
                _logger.warning("model %s stays as it was: %s", model, error)
                if model in self._loaded:
                    loaded[model] = self._loaded[model]
                    routes |= {key: route for key, route in self._routes.items() if key[0] == model}
                continue
            known = self._loaded.get(model, {})
            loaded[model] = {v.number: self._keep_or_load(known.get(v.number), v) for v in versions}
            routes |= routes_of(model, loaded[model], aliases, self._routes)
        return loaded, routes

    def _keep_or_load(self, known: Served | str | None, version: Version) -> Served | str:
        return known if isinstance(known, Served) else self._try_load(version)

    def _try_load(self, version: Version) -> Served | str:
        name = f"version {version.number} of {version.model}"
        try:
            served = self._load(version)
        except DriftlineError as error:
            _logger.warning("%s is not ready: %s", name, error)
            return f"version {version.number} is not ready: {error}"
        except Exception:  # one version's fault must not keep the others from loading
            _logger.exception("%s is not ready", name)
            return f"version {version.number} is not ready; the server's log says why"
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
    routes: Routes = {(model, number): _route(one, "") for number, one in loaded.items()}
    for alias, number in aliases.items():
        route = _route(loaded.get(number, f"version {number} does not exist"), alias)
        if route.served is None:
            route = before.get((model, alias), route)
        routes[model, alias] = route
    oldest_first = list(loaded.values())
    newest = next((one for one in oldest_first[::-1] if isinstance(one, Served)), oldest_first[-1])
    routes[model, ""] = routes.get((model, CHAMPION)) or _route(newest, "")
    return routes


def _route(one: Served | str, alias: str) -> Route:
    return Route(one, alias) if isinstance(one, Served) else Route(None, alias, one)
