"""The loaded versions of a worker, which are updated when the registry changes.

Registry changes take effect at once, except for versions that must be loaded first. A separate
thread loads versions one by one, and a version gets requests as soon as it is loaded. A slow or
failing load therefore does not delay other promotions, rollbacks or unloads.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from eventlog.errors import DriftlineError
from eventlog.shards import tag_of
from registry.catalogue import Revisions
from registry.errors import (
    NoChampion,
    RegistryError,
    RegistryUnavailable,
    UnknownModel,
    UnknownVersion,
)
from registry.history.lifecycle import DesiredState
from registry.limits import UNCHANGED, LimitChange
from registry.manifest import Manifest, Version
from registry.store import ModelState
from registry.worker_reports import WorkerReport
from service.crashes.quarantine import Quarantine
from service.errors import NotReady
from service.models.routing import (
    Loaded,
    LoadedVersion,
    Route,
    Routes,
    UnavailableVersion,
    routes_of,
)

_Key = tuple[str, str]  # (model, version number)

_RETRY_S = 10.0  # seconds between reads of models with missing or damaged files

_logger = logging.getLogger(__name__)


class RegistryReader(Revisions, Protocol):
    """The part of the registry that the service reads."""

    def models(self) -> list[str]: ...
    def state(self, model: str) -> ModelState: ...
    def version(self, model: str, number: str) -> Version: ...


class LoadedModels:
    """The loaded versions, found by one lookup per request. Belongs to one event loop."""

    def __init__(  # noqa: PLR0913  # its dependencies, all by name
        self,
        catalogue: RegistryReader,
        load: Callable[[Version], LoadedVersion],
        set_loaded: Callable[[int], None] = lambda _: None,
        report: Callable[[WorkerReport], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        *,
        quarantine: Quarantine | None = None,
    ) -> None:
        """`load` runs in a thread and raises DriftlineError if a version cannot be loaded.

        After every change, `report` is called with the versions that this worker serves.
        """
        self._catalogue = catalogue
        self._load = load
        self._set_loaded = set_loaded
        self._report = report
        self._clock = clock
        self._quarantine = quarantine
        self._retry_at = 0.0  # next time to re-read models with damaged versions
        self._states: dict[str, ModelState] = {}  # model -> state that was last read
        self._tags: dict[str, str] = {}  # tag in prediction ids -> model
        self._outcomes: dict[
            _Key, LoadedVersion | UnavailableVersion
        ] = {}  # result of the latest attempt to load each version
        self._loads: dict[_Key, asyncio.Task[None]] = {}  # running and queued loads
        self._begun: dict[_Key, int] = {}  # registry revision that started each load
        self._loaded: dict[str, Loaded] = {}  # model -> all its versions
        self._routes: Routes = {}
        self._names: dict[str, list[tuple[str, str]]] = {}  # model -> its keys in _routes
        self._polling = asyncio.Lock()  # serializes polls
        # Versions are loaded one at a time, because a load measures the cost of a run.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._unreported = False  # whether the last report could not be written
        self.revision = -1  # registry revision that was last applied

    def resolve(self, model: str, selector: str) -> tuple[LoadedVersion, str]:
        """Return the version for a selector, and the alias that the selector names.

        Raises UnknownModel, UnknownVersion or NotReady; a candidate is not ready.
        """
        served, route = self.find(model, selector)
        if route.candidate:
            raise NotReady(f"model {model!r}: {route.candidate}")
        return served, route.alias

    def find(self, model: str, selector: str) -> tuple[LoadedVersion, Route]:
        """Return the version for a selector, and the route to it.

        If it is a candidate, the caller must check the scope `try`. Raises UnknownModel,
        UnknownVersion or NotReady.
        """
        route = self._routes.get((model, selector))
        if route is None:
            raise self._unknown(model, selector)
        if isinstance(route.version, UnavailableVersion):
            raise NotReady(f"model {model!r}: {route.version.reason}")
        return route.version, route

    def names(self) -> list[str]:
        """Return the names of all models."""
        return sorted(self._loaded)

    def numbers(self, model: str) -> list[str]:
        """Return a model's loaded versions, oldest first; raises UnknownModel."""
        return [
            n for n, version in self.versions(model).items() if isinstance(version, LoadedVersion)
        ]

    def versions(self, model: str) -> Loaded:
        """Return every version of a model, loaded or not, oldest first; raises UnknownModel."""
        if model not in self._loaded:
            raise self._unknown(model, "")
        return self._loaded[model]

    def manifests(self, tag: str) -> list[Manifest]:
        """Return the manifests of all versions, loaded or not, of the model with this tag.

        The list is empty if the model is unknown or one of its versions cannot be read.
        """
        state = self._states.get(self._tags.get(tag, ""))
        if state is None or state.damaged:
            return []
        return [version.manifest for version in state.versions]

    def select(self, model: str = "", selector: str = "") -> list[Version]:
        """Return the loaded versions of all models or of `model`, or the version of `selector`.

        `selector` is a number or an alias. Raises UnknownModel, UnknownVersion or NotReady.
        """
        if selector:
            return [self.find(model, selector)[0].version]
        names = [model] if model else self.names()
        return [
            version.version
            for name in names
            for version in self.versions(name).values()
            if isinstance(version, LoadedVersion)
        ]

    @property
    def ready(self) -> bool:
        """Whether the registry was read and no champion has failed to load."""
        if self.revision < 0:
            return False
        routes = (self._routes.get((model, "")) for model in self._loaded)
        versions = [route.version for route in routes if route is not None]
        return not any(
            isinstance(version, UnavailableVersion) and version.state == "failed"
            for version in versions
        )

    async def follow(self, interval: float) -> None:
        """Poll forever, every `interval` seconds; log failures and retry."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.poll()
            except RegistryError as error:
                _logger.warning("%s; serving continues with the loaded versions", error)
            except Exception:
                _logger.exception(
                    "cannot poll the registry; serving continues with the loaded versions"
                )

    async def start(self) -> None:
        """Load every version; if the registry cannot be read, `follow` retries."""
        try:
            await self.refresh()
        except RegistryError as error:
            _logger.warning("%s; the service is not ready and retries", error)

    async def refresh(self, model: str = "") -> None:
        """Poll, then wait for all pending loads of `model`, by default of all models."""
        await self.poll()
        while loads := [task for (name, _), task in self._loads.items() if model in {"", name}]:
            await asyncio.wait(loads)

    async def poll(self) -> None:
        """Apply the registry's changes, and start the loads of new versions."""
        async with self._polling:
            self._follow_quarantine()
            revision = await asyncio.to_thread(self._catalogue.revision)
            damaged = {model for model, state in self._states.items() if state.damaged}
            if revision == self.revision and damaged and self._clock() >= self._retry_at:
                await self._retry_damaged(damaged)
            if revision == self.revision:
                if self._unreported:
                    self._publish()
                return
            # Also retry versions that failed to load.
            failed = damaged | {
                model
                for (model, _), outcome in self._outcomes.items()
                if isinstance(outcome, UnavailableVersion)
            }
            states = await asyncio.to_thread(self._read, self.revision, failed)
            for model in states:
                for number in states[model].damaged.keys() - states[model].remote:
                    loaded = isinstance(self._outcomes.get((model, number)), LoadedVersion)
                    effect = "served from memory until the worker stops" if loaded else "not ready"
                    _logger.warning("%s: %s", effect, states[model].damaged[number])
            self.revision = revision
            self._states |= states
            for model in states:
                self._update_routes(model)
                self._start_loads(model)
        self._publish()

    def _follow_quarantine(self) -> None:
        """Apply changes of the quarantine, which all workers share."""
        changed = self._quarantine.refresh() if self._quarantine is not None else set()
        for model in changed & self._states.keys():
            self._update_routes(model)
            self._start_loads(model)
            self._publish()

    async def _retry_damaged(self, models: set[str]) -> None:
        """Re-read models with missing or damaged files, because the files may be restored."""
        self._retry_at = self._clock() + _RETRY_S
        before = {model: self._states[model] for model in models}
        states = await asyncio.to_thread(self._states_of, models)
        changed = {model: state for model, state in states.items() if state != before[model]}
        self._states |= changed
        for model in changed:
            self._update_routes(model)
            self._start_loads(model)
        if changed:
            self._publish()

    def close(self) -> None:
        """Stop loading."""
        for task in self._loads.values():
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self, since: int, failed: set[str]) -> dict[str, ModelState]:
        """Return the state of every changed or failed model; runs in a thread."""
        changed = set(self._catalogue.models()) if since < 0 else self._catalogue.changed(since)
        return self._states_of(changed | failed)

    def _states_of(self, models: set[str]) -> dict[str, ModelState]:
        states: dict[str, ModelState] = {}
        for model in sorted(models):
            try:
                states[model] = self._catalogue.state(model)
            except RegistryUnavailable:
                raise  # the next poll reads all models again
            except RegistryError as error:
                _logger.warning("model %s stays unchanged: %s", model, error)
        return states

    def _update_routes(self, model: str) -> None:
        state = self._states[model]
        self._tags[tag_of(model)] = model
        loaded: dict[str, LoadedVersion | UnavailableVersion] = {
            version.number: self._current(version, state.desired) for version in state.versions
        }
        loaded |= {number: self._damaged(model, number, state) for number in state.damaged}
        loaded = dict(sorted(loaded.items(), key=lambda item: int(item[0])))
        desired = state.desired
        routes = routes_of(model, loaded, desired, self._routes)
        for key in self._names.get(model, ()):
            del self._routes[key]
        for number in self._loaded.get(model, {}).keys() - loaded.keys():
            self._outcomes.pop((model, number), None)
        self._routes |= routes
        self._names[model] = list(routes)
        self._loaded[model] = loaded

    def _current(
        self, version: Version, desired: DesiredState
    ) -> LoadedVersion | UnavailableVersion:
        key, number = (version.model, version.number), version.number
        if number in desired.unloaded:
            self._retire(key)
            return UnavailableVersion(f"version {number} was unloaded", "unloaded")
        if reason := self._quarantined(version, desired):
            self._retire(key)
            return UnavailableVersion(reason, "quarantined")
        outcome = self._outcomes.get(key)
        if outcome is None:
            return UnavailableVersion(f"version {number} is being loaded", "loading")
        tuned = self._outcomes[key] = _tuned(outcome, desired.limits.get(number))
        return tuned

    def _damaged(
        self, model: str, number: str, state: ModelState
    ) -> LoadedVersion | UnavailableVersion:
        """Keep serving a loaded version whose files are damaged, until the worker restarts."""
        outcome = self._outcomes.get((model, number))
        if isinstance(outcome, LoadedVersion):
            return self._current(outcome.version, state.desired)
        return _unavailable(number, state)

    def _retire(self, key: _Key) -> None:
        """Remove a version; accepted requests still run on it."""
        outcome = self._outcomes.pop(key, None)
        if isinstance(outcome, LoadedVersion) and outcome.retire is not None:
            outcome.retire()

    def _quarantined(self, version: Version, desired: DesiredState) -> str:
        if self._quarantine is None:
            return ""
        operated = desired.operated.get(version.number, 0)
        return self._quarantine.reason(version.model, version.number, operated)

    def _start_loads(self, model: str) -> None:
        """Start the loads of all versions whose desired state is loaded."""
        state = self._states[model]
        for version in state.versions:
            key = model, version.number
            if version.number in state.desired.unloaded or key in self._loads:
                continue
            if self._quarantined(version, state.desired):
                continue
            if not isinstance(self._outcomes.get(key), LoadedVersion):
                self._begun[key] = self.revision
                self._loads[key] = asyncio.create_task(self._load_version(version))

        for number in state.remote - state.desired.unloaded:
            key = model, number
            if key not in self._loads:
                self._begun[key] = self.revision
                self._loads[key] = asyncio.create_task(self._fetch(model, number))

    async def _fetch(self, model: str, number: str) -> None:
        """Fetch a version's files, then load it; after a failure, a later poll retries."""
        key, loop = (model, number), asyncio.get_running_loop()
        reason = await loop.run_in_executor(self._thread, self._try_fetch, model, number)
        states: dict[str, ModelState] = {}
        with suppress(RegistryError):  # in this case, use the state that was last read
            states = await asyncio.to_thread(self._states_of, {model})
        begun = self._begun.pop(key)
        del self._loads[key]
        if (state := states.get(model, self._states.get(model))) is None:
            return
        if reason:
            failed = {number: reason} if number in state.damaged else {}
            state = replace(state, damaged=state.damaged | failed, remote=state.remote - {number})
        self._states[model] = state
        self._update_routes(model)
        self._start_loads(model)
        if key in self._begun:  # the load belongs to the same revision as the fetch
            self._begun[key] = begun
        if not self._loads:
            self._publish()

    def _try_fetch(self, model: str, number: str) -> str:
        """Fetch a version's files; return why this failed, "" on success."""
        try:
            self._catalogue.version(model, number)
        except DriftlineError as error:
            _logger.warning("version %s of %s is not ready: %s", number, model, error)
            return str(error)
        except Exception as error:  # an error of one version must not stop the loads of others
            _logger.exception("version %s of %s is not ready", number, model)
            return f"version {number} is not ready: {type(error).__name__}"
        return ""

    async def _load_version(self, version: Version) -> None:
        """Load a version, then update its model's routes."""
        key = version.model, version.number
        loop = asyncio.get_running_loop()
        self._outcomes[key] = await loop.run_in_executor(self._thread, self._try_load, version)
        del self._loads[key], self._begun[key]
        self._update_routes(version.model)
        if not self._loads:
            self._publish()

    def _try_load(self, version: Version) -> LoadedVersion | UnavailableVersion:
        name = f"version {version.number} of {version.model}"
        try:
            served = self._load(version)
        except DriftlineError as error:
            _logger.warning("%s is not ready: %s", name, error)
            return _failed(version, f": {error}")
        except Exception:  # an error of one version must not stop the loads of others
            _logger.exception("%s is not ready", name)
            return _failed(version, "; see the server's log")
        _logger.info("%s is loaded", name)
        return served

    def _publish(self) -> None:
        """Report the versions that this worker serves."""
        applied = min(self._begun.values(), default=self.revision + 1) - 1
        state = WorkerReport(applied)
        for (model, selector), route in self._routes.items():
            if isinstance(route.version, LoadedVersion):
                state.serving.setdefault(model, {})[selector] = route.version.version.number
        loaded = 0
        for model, versions in self._loaded.items():
            for number, version in versions.items():
                loaded += isinstance(version, LoadedVersion)
                if isinstance(version, UnavailableVersion) and version.state in {
                    "failed",
                    "quarantined",
                }:
                    state.unready.setdefault(model, {})[number] = version.reason
        self._set_loaded(loaded)
        try:
            self._report(state)
        except OSError as error:  # a full disk must not stop the service
            self._unreported = True
            _logger.warning("cannot report this worker's state: %s", error.strerror)
        else:
            self._unreported = False

    def check_ready(self, model: str, selector: str = "") -> None:
        """Raise NotReady, UnknownModel or UnknownVersion if requests cannot be answered.

        Health probes need no key, so these errors contain no names of models or versions.
        """
        try:
            self.resolve(model, selector)
        except UnknownModel:
            raise UnknownModel("no such model") from None
        except NoChampion:
            raise UnknownVersion("no champion answers requests that name no version") from None
        except UnknownVersion:
            raise UnknownVersion("no such version or alias") from None

    def _unknown(self, model: str, selector: str) -> UnknownModel | UnknownVersion:
        if model not in self._loaded:
            names = ", ".join(self.names()) or "none is registered"
            return UnknownModel(f"no model {model[:64]!r}; models: {names}")
        if not selector:
            return NoChampion(model, list(self._loaded[model]))
        names = ", ".join(name for owner, name in self._routes if owner == model and name)
        return UnknownVersion(
            f"model {model!r} has no version or alias {selector[:64]!r}; it has: {names}"
        )


def _failed(version: Version, reason: str) -> UnavailableVersion:
    return UnavailableVersion(f"version {version.number} is not ready{reason}", "failed")


def _unavailable(number: str, state: ModelState) -> UnavailableVersion:
    if number in state.remote - state.desired.unloaded:
        return UnavailableVersion(f"version {number} is being fetched", "loading")
    if number in state.desired.unloaded:
        return UnavailableVersion(f"version {number} was unloaded", "unloaded")
    return UnavailableVersion(state.damaged[number], "failed")


def _tuned(
    version: LoadedVersion | UnavailableVersion, change: LimitChange | None
) -> LoadedVersion | UnavailableVersion:
    """Return the version with the limits of `change`."""
    limits = change or UNCHANGED
    if isinstance(version, UnavailableVersion) or version.tune is None or version.limits == limits:
        return version
    name = f"version {version.version.number} of {version.version.model}"
    try:
        tuned = version.tune(limits)
    except RegistryError as error:
        _logger.warning("%s: the limits stay unchanged: %s", name, error)
        return version
    _logger.info("%s has new limits: %s", name, limits.changes() or "the manifest's limits")
    return tuned
