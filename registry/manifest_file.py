"""Read manifests and policies from YAML, with errors that name the line or the field."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from registry.errors import InvalidManifest, InvalidPolicy, RegistryError
from registry.manifest import Manifest, Monitoring


def read_manifest(path: Path) -> Manifest:
    """Read a manifest as written, not yet completed from the ONNX file.

    Raises InvalidManifest for a file that cannot be read, YAML that does not parse, and fields
    that are unknown or of the wrong type.
    """
    return to_manifest(read_fields(path), path.name)


def read_fields(path: Path) -> dict[str, Any]:
    """Read the fields that a manifest states, those that it leaves out being absent.

    Raises InvalidManifest as read_manifest does.
    """
    fields = _read(path, f"manifest {path.name}", InvalidManifest)
    to_manifest(fields, path.name)
    return dict(fields)


def to_manifest(fields: Any, name: str = "") -> Manifest:
    """The manifest of these fields; raises InvalidManifest naming the field that does not fit."""
    try:
        return msgspec.convert(fields, Manifest)
    except msgspec.ValidationError as error:
        raise InvalidManifest(f"manifest {name}: {error}".replace(" :", ":")) from None


def read_stated(path: Path) -> dict[str, Any]:
    """Read the stated fields of a policy: `monitoring` of a manifest, or a file of only that.

    Raises InvalidPolicy for a file that cannot be read, and YAML that does not parse or states
    nothing.
    """
    content = _read(path, f"policy {path.name}", InvalidPolicy)
    stated = content.get("monitoring", content) if isinstance(content, dict) else content
    if not isinstance(stated, dict) or not stated:
        raise InvalidPolicy(
            f"policy {path.name}: expected fields of a manifest's `monitoring` section"
        )
    return stated


def read_policy(path: Path) -> Monitoring:
    """Read a policy; fields that the file omits have their defaults.

    Raises InvalidPolicy for an invalid file.
    """
    try:
        return msgspec.convert(read_stated(path), Monitoring)
    except msgspec.ValidationError as error:
        raise InvalidPolicy(f"policy {path.name}: {error}") from None


def _read(path: Path, what: str, kind: type[RegistryError]) -> Any:
    try:
        return yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise kind(f"{what.split(maxsplit=1)[0]} {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise kind(f"{what} is not YAML: {' '.join(str(error).split())}") from None
