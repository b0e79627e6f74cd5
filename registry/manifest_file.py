"""Read manifests and policies from YAML, with errors that name the line or the field."""

import json
from pathlib import Path
from typing import Any

import msgspec
import yaml

from registry.errors import InvalidManifest, InvalidPolicy, RegistryError
from registry.manifest import Manifest, Monitoring
from registry.yaml_text import parse_yaml


def read_manifest(path: Path) -> Manifest:
    """Read a manifest as written, not yet completed from the ONNX file.

    Raises InvalidManifest for a file that cannot be read, YAML that does not parse, and fields
    that are unknown or of the wrong type.
    """
    return to_manifest(read_fields(path), path.name)


def read_fields(path: Path) -> dict[str, Any]:
    """Read the fields that a manifest states, those that it leaves out being absent.

    Class names in a file beside the manifest are read. Raises InvalidManifest as read_manifest
    does.
    """
    fields = _with_class_names(_read(path, f"manifest {path.name}", InvalidManifest), path)
    to_manifest(fields, path.name)
    return dict(fields)


def _with_class_names(fields: Any, path: Path) -> Any:
    """Replace the name of a file in prediction.classes by the names in it."""
    prediction = fields.get("prediction") if isinstance(fields, dict) else None
    class_file = prediction.get("classes") if isinstance(prediction, dict) else None
    if prediction is None or not isinstance(class_file, str):
        return fields
    return fields | {"prediction": prediction | {"classes": _class_names(path.parent / class_file)}}


def _class_names(path: Path) -> list[Any]:
    where = f"prediction.classes: file {path.name}"
    try:
        text = path.read_text("utf-8-sig")
        names = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except OSError as error:
        raise InvalidManifest(f"{where} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(f"{where} is not UTF-8 text, or not JSON: {error}") from None
    if not isinstance(names, list) or not names:
        raise InvalidManifest(f"{where} names no classes; expected one in each line, or a list")
    return [name.strip() if isinstance(name, str) else name for name in names]


def to_manifest(fields: Any, name: str = "") -> Manifest:
    """Return the manifest of these fields; raises InvalidManifest naming the wrong field."""
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
    policy_fields = content.get("monitoring", content) if isinstance(content, dict) else content
    if not isinstance(policy_fields, dict) or not policy_fields:
        raise InvalidPolicy(
            f"policy {path.name}: expected fields of a manifest's `monitoring` section"
        )
    return policy_fields


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
        return parse_yaml(path.read_bytes())
    except OSError as error:
        raise kind(f"{what.split(maxsplit=1)[0]} {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise kind(f"{what} is not YAML: {' '.join(str(error).split())}") from None
