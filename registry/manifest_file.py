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
    """Read a manifest as its author wrote it, before it is completed from the ONNX file.

    Raises InvalidManifest if the file cannot be read or is not YAML, or if fields are unknown or
    have the wrong type.
    """
    return to_manifest(read_fields(path), path.name)


def read_fields(path: Path) -> dict[str, Any]:
    """Return only the fields that a manifest file states.

    If the classes are a file name, that file is read. Raises InvalidManifest like `read_manifest`.
    """
    fields = _with_class_names(_read(path, f"manifest {path.name}", InvalidManifest), path)
    to_manifest(fields, path.name)
    return dict(fields)


def _with_class_names(fields: Any, path: Path) -> Any:
    """Replace a file name in prediction.classes with the class names in that file."""
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
        raise InvalidManifest(f"{where} has no classes; expected one per line, or a JSON list")
    return [name.strip() if isinstance(name, str) else name for name in names]


def to_manifest(fields: Any, name: str = "") -> Manifest:
    """Convert fields to a manifest; raises InvalidManifest that names a wrong field."""
    try:
        return msgspec.convert(fields, Manifest)
    except msgspec.ValidationError as error:
        raise InvalidManifest(f"manifest {name}: {error}".replace(" :", ":")) from None


def read_stated(path: Path) -> dict[str, Any]:
    """Return only the fields that a policy file states.

    The file is a manifest with a section `monitoring`, or contains only the fields of that section.
    Raises InvalidPolicy if the file cannot be read, is not YAML or has no fields.
    """
    content = _read(path, f"policy {path.name}", InvalidPolicy)
    policy_fields = content.get("monitoring", content) if isinstance(content, dict) else content
    if not isinstance(policy_fields, dict) or not policy_fields:
        raise InvalidPolicy(
            f"policy {path.name}: expected fields of a manifest's `monitoring` section"
        )
    return policy_fields


def read_policy(path: Path) -> Monitoring:
    """Read a policy; omitted fields have their defaults. Raises InvalidPolicy."""
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
