"""Promote the first version of a new model, which nothing else serves."""

from registry.errors import VersionRefused
from registry.manifest import Version
from registry.store import Registry


def promote_first(registry: Registry, version: Version, actor: str) -> bool:
    """Promote the only version of a model that has no alias, unless its release policy refuses.

    Returns whether it was promoted.
    """
    alone = [one.number for one in registry.versions(version.model)] == [version.number]
    if not alone or registry.aliases(version.model):
        return False
    try:
        registry.promote(version.model, version.number, actor=actor)
    except VersionRefused:  # by the model's release policy
        return False
    return True
