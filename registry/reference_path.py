"""The path of a version's reference, and whether it has one."""

from pathlib import Path

from registry.manifest import Version

REFERENCE = "reference.parquet"


def reference_path(version: Version) -> Path:
    """Return the path that the version's reference has if it exists."""
    return Path(version.path) / REFERENCE


def has_reference(version: Version) -> bool:
    """Return whether the version has a reference."""
    return reference_path(version).is_file()


def learns(version: Version) -> bool:
    """Return whether the version has no reference, so its baseline is learned from production.

    If the version's folder is missing, the version is damaged. Return False, because it may have a
    reference.
    """
    return Path(version.path).is_dir() and not has_reference(version)
