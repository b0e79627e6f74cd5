"""Promote the first version of a new model, which nothing else serves."""

from registry.conflicts import retry_conflicts
from registry.errors import VersionRefused
from registry.manifest import Version
from registry.store import Registry


def promote_first(registry: Registry, version: Version, actor: str) -> bool:
    """Promote the only version of a model that has no alias, unless its release policy refuses.

    Returns whether it was promoted.
    """

    def promote() -> bool:
        state = registry.state(version.model)
        alone = [version.number for version in state.versions] == [version.number]
        if not alone or state.desired.aliases:
            return False
        try:
            registry.promote(
                version.model, version.number, actor=actor, expected_revision=state.revision
            )
        except VersionRefused:  # by the model's release policy
            return False
        return True

    return retry_conflicts(promote)
