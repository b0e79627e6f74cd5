"""Interfaces of the registry, one for each group of its readers.

`registry.store.Registry` implements all interfaces. Tests and backtests implement single ones.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from registry.baselines import RecordedBaseline
from registry.history.rollout_state import Rollout
from registry.history.rows import ModelDescription
from registry.history.shadow_state import Shadow
from registry.manifest import Version
from registry.policies import DatedPolicy


class NamedVersions(NamedTuple):
    """The versions that requests for an alias reach, with the owner and tags of their model."""

    aliases: dict[str, str]  # alias -> version number
    rollouts: list[Rollout]  # active rollouts
    shadows: Sequence[Shadow] = ()  # active shadows
    description: ModelDescription = ModelDescription()


class VersionSource(Protocol):
    """Find registered versions by number."""

    def version(self, model: str, number: str) -> Version:
        """Return the version; raises RegistryError."""
        ...


class PolicySource(Protocol):
    """Read the policies of a version."""

    def policies(self, version: Version) -> list[DatedPolicy]:
        """Return every policy of a version, oldest first."""
        ...


class Revisions(Protocol):
    """Detect changes of the registry."""

    def revision(self) -> int:
        """Return a number that grows with every change; fast."""
        ...

    def changed(self, since: int) -> set[str]:
        """Return the models that changed after this revision."""
        ...


class PolicyHistory(PolicySource, Revisions, Protocol):
    """Read the policies and baselines of every version, and detect changes."""

    def baselines(self, version: Version) -> list[RecordedBaseline]:
        """Return the baselines recorded for a version, oldest first."""
        ...


class Catalogue(PolicySource, Protocol):
    """List registered models and versions."""

    def models(self) -> list[str]:
        """Return the names of all models."""
        ...

    def versions(self, model: str) -> Sequence[Version]:
        """Return the versions of a model, oldest first."""
        ...

    def named_versions(self, model: str) -> NamedVersions:
        """Return a model's aliases with their versions, and its active rollouts and shadows."""
        ...
