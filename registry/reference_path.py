"""The path of a version's reference, and whether it has one."""

from pathlib import Path

from registry.manifest import Version

REFERENCE = "reference.parquet"


def reference_path(version: Version) -> Path:
    """Return the path of the version's reference, if it has one."""
    return Path(version.path) / REFERENCE


def has_reference(version: Version) -> bool:
    """Return whether the version has a reference."""
    return reference_path(version).is_file()


def learns(version: Version) -> bool:
    """Return whether the version learns its baseline from production, for lack of a reference.

    If its folder is missing, the version is damaged: it must not replace its reference.
    """
    return Path(version.path).is_dir() and not has_reference(version)
