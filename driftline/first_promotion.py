"""Promote the first version of a new model, so that the model can be called."""

from registry.conflicts import retry_conflicts
from registry.errors import VersionRefused
from registry.manifest import Version
from registry.store import Registry


def promote_first(registry: Registry, version: Version, actor: str) -> bool:
    """Promote a model's only version if the model has no alias and the release policy allows it.

    Returns whether the version was promoted.
    """

    def promote() -> bool:
        state = registry.state(version.model)
        is_only = [version.number for version in state.versions] == [version.number]
        if not is_only or state.desired.aliases:
            return False
        try:
            registry.promote(
                version.model, version.number, actor=actor, expected_revision=state.revision
            )
        except VersionRefused:  # the model's release policy refuses the version
            return False
        return True

    return retry_conflicts(promote)
