"""Policies of watching: each version's own, or one that takes their place."""

from typing import Protocol

from msgspec.structs import replace

from registry.manifest import Monitoring, Version


class Catalogue(Protocol):
    """Where versions are found."""

    def version(self, model: str, number: str) -> Version:
        """The version; raises RegistryError."""
        ...


class Overriding:
    """A catalogue whose versions are all watched by one policy."""

    def __init__(self, catalogue: Catalogue, policy: Monitoring) -> None:
        """`policy` takes the place of what each manifest says."""
        self._catalogue = catalogue
        self._policy = policy

    def version(self, model: str, number: str) -> Version:
        """The version with the other policy; raises RegistryError."""
        found = self._catalogue.version(model, number)
        return replace(found, manifest=replace(found.manifest, monitoring=self._policy))
