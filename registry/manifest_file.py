"""The user's YAML manifest -> a Manifest, with errors that name the line or the field."""

from pathlib import Path

import msgspec
import yaml

from registry.errors import InvalidManifest
from registry.manifest import Manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest as its author wrote it, not yet completed from the ONNX file.

    Raises InvalidManifest for a file that cannot be read, YAML that does not parse, and fields
    that are unknown, missing or of the wrong type.
    """
    try:
        content = yaml.safe_load(path.read_bytes())
        return msgspec.convert(content, Manifest)
    except OSError as error:
        raise InvalidManifest(f"manifest {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidManifest(f"manifest {path.name} is not YAML: {_one_line(error)}") from None
    except msgspec.ValidationError as error:
        raise InvalidManifest(f"manifest {path.name}: {error}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
