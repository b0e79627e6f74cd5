"""The model repository extension: list, load and unload versions.

The registry stores the desired state. Every worker of every service follows its revision,
including workers that start later.
"""

import asyncio
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from service.errors import InvalidRequest, NotReady
from service.models.loaded_models import LoadedModels
from service.models.routing import LoadedVersion, UnavailableVersion

State = Literal["READY", "LOADING", "UNAVAILABLE"]
_IGNORED = {"unload_dependents"}  # of Triton's clients: no model here depends on another


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

    def __init__(self, shelf: RegistryWriter, models: LoadedModels) -> None:
        self._shelf = shelf
        self._models = models

    def index(self, *, ready: bool = False) -> list[IndexEntry]:
        """Return every version, or only ready ones, ordered by model."""
        entries = [
            _entry(model, number, one)
            for model in self._models.names()
            for number, one in self._models.versions(model).items()
        ]
        return [entry for entry in entries if entry.state == "READY" or not ready]

    async def load(self, model: str, parameters: Mapping[str, object], *, actor: str) -> None:
        """Load one version by number or alias, or all versions of a model; wait until done.

        Other workers follow within their poll interval. Of the request's `parameters`, `version` is
        read. Raises UnknownModel, UnknownVersion, InvalidRequest, or NotReady if a load fails.
        """
        number = await self._number(model, parameters)
        await asyncio.to_thread(self._shelf.load, model, number, actor=actor)
        await self._models.refresh(model)
        versions = self._models.versions(model)
        problems = [
            one.reason
            for name, one in versions.items()
            if number in {"", name} and isinstance(one, UnavailableVersion)
        ]
        if problems:
            raise NotReady(f"model {model!r}: {'; '.join(problems)}")

    async def unload(self, model: str, parameters: Mapping[str, object], *, actor: str) -> None:
        """Unload one version by number or alias, or all versions of a model.

        Accepted requests are still answered. Raises UnknownModel, UnknownVersion or InvalidRequest.
        """
        number = await self._number(model, parameters)
        await asyncio.to_thread(self._shelf.unload, model, number, actor=actor)
        await self._models.refresh(model)

    async def _number(self, model: str, parameters: Mapping[str, object]) -> str:
        """Return the version number that the parameters select, or ""."""
        unknown = parameters.keys() - {"version"} - _IGNORED
        if unknown:
            raise InvalidRequest(
                f"parameter {min(unknown)!r}: expected only `version`; a model's files and "
                "manifest come from the registry"
            )
        selector = parameters.get("version", "")
        if not isinstance(selector, str):
            raise InvalidRequest("parameter version: expected a version's number or an alias")
        aliases = await asyncio.to_thread(self._shelf.aliases, model)
        return aliases.get(selector, selector)


def _entry(model: str, number: str, one: LoadedVersion | UnavailableVersion) -> IndexEntry:
    if isinstance(one, LoadedVersion):
        return IndexEntry(model, number, "READY")
    state: State = "LOADING" if one.state == "loading" else "UNAVAILABLE"
    return IndexEntry(model, number, state, one.reason)
