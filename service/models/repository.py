"""The model repository extension: list, load and unload versions.

The registry stores the desired state. All workers of all services poll the registry and apply this
state, also workers that start later.
"""

import asyncio
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from service.errors import InvalidRequest, NotReady
from service.models.loaded_models import LoadedModels
from service.models.routing import LoadedVersion, UnavailableVersion

State = Literal["READY", "LOADING", "UNAVAILABLE"]
_IGNORED = {"unload_dependents"}  # parameters of Triton's clients that have no meaning here


class RegistryWriter(Protocol):
    """The part of the registry that load and unload use; its methods raise UnknownModel."""

    def aliases(self, model: str) -> dict[str, str]: ...
    def load(self, model: str, number: str, *, actor: str) -> int: ...
    def unload(self, model: str, number: str, *, actor: str) -> int: ...


class IndexEntry(msgspec.Struct, frozen=True):
    """A version in the extension's format."""

    name: str
    version: str
    state: State
    reason: str = ""  # why the version is not ready


class ModelRepository:
    """The extension's methods; changes apply to all workers."""

    def __init__(self, registry: RegistryWriter, models: LoadedModels) -> None:
        self._registry = registry
        self._models = models

    def index(self, *, ready: bool = False) -> list[IndexEntry]:
        """Return all versions, or only the ready versions, ordered by model."""
        entries = [
            _entry(model, number, version)
            for model in self._models.names()
            for number, version in self._models.versions(model).items()
        ]
        return [entry for entry in entries if entry.state == "READY" or not ready]

    async def load(self, model: str, parameters: Mapping[str, object], *, actor: str) -> None:
        """Load a version or all versions of a model; return once they are loaded.

        `parameters["version"]` selects a version by number or alias; by default, all versions are
        loaded. Other workers load them within their poll interval. Raises UnknownModel,
        UnknownVersion or InvalidRequest, and NotReady if a load fails.
        """
        number = await self._number(model, parameters)
        await asyncio.to_thread(self._registry.load, model, number, actor=actor)
        await self._models.refresh(model)
        versions = self._models.versions(model)
        problems = [
            version.reason
            for candidate, version in versions.items()
            if number in {"", candidate} and isinstance(version, UnavailableVersion)
        ]
        if problems:
            raise NotReady(f"model {model!r}: {'; '.join(problems)}")

    async def unload(self, model: str, parameters: Mapping[str, object], *, actor: str) -> None:
        """Unload a version or all versions of a model.

        `parameters["version"]` selects a version by number or alias. Accepted requests are still
        answered. Raises UnknownModel, UnknownVersion or InvalidRequest.
        """
        number = await self._number(model, parameters)
        await asyncio.to_thread(self._registry.unload, model, number, actor=actor)
        await self._models.refresh(model)

    async def _number(self, model: str, parameters: Mapping[str, object]) -> str:
        """Return the version number that the parameters select; "" selects all versions."""
        unknown = parameters.keys() - {"version"} - _IGNORED
        if unknown:
            raise InvalidRequest(
                f"parameter {min(unknown)!r}: expected only `version`, because a model's files and "
                "manifest are read from the registry"
            )
        selector = parameters.get("version", "")
        if not isinstance(selector, str):
            raise InvalidRequest("parameter version: expected a version number or an alias")
        aliases = await asyncio.to_thread(self._registry.aliases, model)
        return aliases.get(selector, selector)


def _entry(model: str, number: str, version: LoadedVersion | UnavailableVersion) -> IndexEntry:
    if isinstance(version, LoadedVersion):
        return IndexEntry(model, number, "READY")
    state: State = "LOADING" if version.state == "loading" else "UNAVAILABLE"
    return IndexEntry(model, number, state, version.reason)
