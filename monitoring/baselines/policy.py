"""Decide what a version's windows are compared with. Pure but for one look at the registry."""

from pathlib import Path

from registry.manifest import Version
from registry.reference import has_reference


def learns(version: Version) -> bool:
    """Whether the version has no registered reference, so that its baseline comes from production.

    A version whose folder is missing is damaged: it learns nothing in place of its reference.
    """
    return Path(version.path).is_dir() and not has_reference(version)
