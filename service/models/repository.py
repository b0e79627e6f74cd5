"""The model repository extension: what there is, what of it is loaded, and telling it to change.

What shall be loaded is the registry's to remember: every worker of every service on it follows its
revision, a worker that starts later too. Transports call `index`, `load` and `unload`.
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
    """What of the registry this writes and reads; every method raises UnknownModel."""

    def aliases(self, model: str) -> dict[str, str]: ...
    def load(self, model: str, number: str, *, actor: str) -> int: ...
    def unload(self, model: str, number: str, *, actor: str) -> int: ...


class IndexEntry(msgspec.Struct, frozen=True):
    """One version of a model, as the extension describes it."""

    name: str
    version: str
    state: State
    reason: str = ""  # why it is unavailable


class ModelRepository:
    """One worker's view of the models, and the way to change it for all workers."""

    def __init__(self, shelf: RegistryWriter, models: LoadedModels) -> None:
        self._shelf = shelf
        self._models = models

    def index(self, *, ready: bool = False) -> list[IndexEntry]:
        """Every version of every model, or only those that are ready; models by name."""
        entries = [
            _entry(model, number, one)
            for model in self._models.names()
            for number, one in self._models.versions(model).items()
        ]
        return [entry for entry in entries if entry.state == "READY" or not ready]

    async def load(self, model: str, parameters: Mapping[str, object], *, actor: str) -> None:
        """Load a version, by number or alias, or every version of a model; returns when done.

        Other workers follow within their poll interval. `parameters` are the request's, of which
        `version` is known. Raises UnknownModel, UnknownVersion, InvalidRequest, or NotReady where
        a version does not load.
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
        """Take a version, by number or alias, or every version of a model from traffic.

        What is accepted already is still answered. Raises UnknownModel, UnknownVersion or
        InvalidRequest.
        """
        number = await self._number(model, parameters)
        await asyncio.to_thread(self._shelf.unload, model, number, actor=actor)
        await self._models.refresh(model)

    async def _number(self, model: str, parameters: Mapping[str, object]) -> str:
        """The version that the parameters name, "" where they name none."""
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
