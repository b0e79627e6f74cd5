"""Hash the files of a version, and check that they are unchanged since registration."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from registry.errors import ChangedFile
from registry.manifest import Version

DATA = "model.data"  # external data: weights that are too large for model.onnx


def data_size(folder: Path) -> int:
    """Return the size of a version's external data in bytes, or 0 if there is none."""
    return (folder / DATA).stat().st_size if (folder / DATA).is_file() else 0


def hash_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return name -> SHA-256 in hex of the named files in a folder; raises OSError."""
    return {name: hash_file(folder / name) for name in sorted(names)}


def hash_folder(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of a version's files, except BentoML's file; raises OSError."""
    names = [path.name for path in folder.iterdir() if path.is_file() and path.name != "model.yaml"]
    return hash_files(folder, names)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_unchanged(version: Version, *names: str) -> None:
    """Raise ChangedFile if a file of a version differs from the registered file.

    If `names` are passed, only these files are checked. Versions of earlier releases have no hashes
    and are not checked.
    """
    for name, expected in version.files.items():
        if names and name not in names:
            continue
        place = f"version {version.number} of {version.model}: {name}"
        try:
            digest = hash_file(Path(version.path) / name)
        except OSError as error:
            raise ChangedFile(f"{place} cannot be read: {error.strerror}") from None
        if digest != expected:
            raise ChangedFile(
                f"{place} was changed: SHA-256 {digest[:12]}..., registered {expected[:12]}...; "
                "restore it from a backup, or re-register the model"
            )
