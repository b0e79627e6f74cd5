"""The model repository extension: list, load and unload versions.

The registry stores the desired state. Every worker of every service polls the registry's revision
and applies that state, also workers that start later.
"""

import asyncio
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from service.errors import InvalidRequest, NotReady
from service.models.loaded_models import LoadedModels
from service.models.routing import LoadedVersion, UnavailableVersion

State = Literal["READY", "LOADING", "UNAVAILABLE"]
_IGNORED = {"unload_dependents"}  # sent by Triton's clients; models here have no dependents


class RegistryWriter(Protocol):
    """The part of the registry that load and unload use; methods raise UnknownModel."""

    def aliases(self, model: str) -> dict[str, str]: ...
    def load(self, model: str, number: str, *, actor: str) -> int: ...
    def unload(self, model: str, number: str, *, actor: str) -> int: ...


class IndexEntry(msgspec.Struct, frozen=True):
    """One version of a model, as the extension defines it."""

    name: str
    version: str
    state: State
    reason: str = ""  # why it is unavailable


class ModelRepository:
    """One worker's view of the models; changes apply to all workers."""

    def __init__(self, registry: RegistryWriter, models: LoadedModels) -> None:
        self._registry = registry
        self._models = models

    def index(self, *, ready: bool = False) -> list[IndexEntry]:
        """Return every version, or only ready ones, ordered by model."""
        entries = [
            _entry(model, number, version)
            for model in self._models.names()
            for number, version in self._models.versions(model).items()
        ]
        return [entry for entry in entries if entry.state == "READY" or not ready]

    async def load(self, model: str, parameters: Mapping[str, object], *, actor: str) -> None:
        """Load one version by number or alias, or all versions of a model; wait until done.

        `parameters["version"]` selects the version; without it, all are loaded. Other workers load
        within their poll interval. Raises UnknownModel, UnknownVersion, InvalidRequest, or NotReady
        if a load fails.
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
        """Unload one version by number or alias, or all versions of a model.

        `parameters["version"]` selects the version. Accepted requests are still answered. Raises
        UnknownModel, UnknownVersion or InvalidRequest.
        """
        number = await self._number(model, parameters)
        await asyncio.to_thread(self._registry.unload, model, number, actor=actor)
        await self._models.refresh(model)

    async def _number(self, model: str, parameters: Mapping[str, object]) -> str:
        """Return the version number that the parameters select; "" selects all versions."""
        unknown = parameters.keys() - {"version"} - _IGNORED
        if unknown:
            raise InvalidRequest(
                f"parameter {min(unknown)!r}: expected only `version`; a model's files and "
                "manifest come from the registry"
            )
        selector = parameters.get("version", "")
        if not isinstance(selector, str):
            raise InvalidRequest("parameter version: expected a version's number or an alias")
        aliases = await asyncio.to_thread(self._registry.aliases, model)
        return aliases.get(selector, selector)


def _entry(model: str, number: str, version: LoadedVersion | UnavailableVersion) -> IndexEntry:
    if isinstance(version, LoadedVersion):
        return IndexEntry(model, number, "READY")
    state: State = "LOADING" if version.state == "loading" else "UNAVAILABLE"
    return IndexEntry(model, number, state, version.reason)
