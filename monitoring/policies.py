"""Policies of watching: each version's own, or one that takes their place."""

from pathlib import Path
from typing import Protocol

import msgspec
import yaml
from msgspec.structs import replace

from registry.errors import InvalidManifest
from registry.manifest import Monitoring, Version


class Catalogue(Protocol):
    """Where versions are found."""

    def version(self, model: str, number: str) -> Version:
        """The version; raises RegistryError."""
        ...


class Overriding:
    """A catalogue whose versions are all watched by one policy."""

    def __init__(self, catalogue: Catalogue, policy: Monitoring) -> None:
        """`policy` takes the place of what each manifest says."""
        self._catalogue = catalogue
        self._policy = policy

    def version(self, model: str, number: str) -> Version:
        """The version with the other policy; raises RegistryError."""
        found = self._catalogue.version(model, number)
        return replace(found, manifest=replace(found.manifest, monitoring=self._policy))


def read_policy(path: Path) -> Monitoring:
    """The `monitoring` section of a manifest, or a file of its own that holds just that.

    Raises InvalidManifest saying what is wrong with it.
    """
    try:
        content = yaml.safe_load(path.read_bytes())
        stated = content.get("monitoring", content) if isinstance(content, dict) else content
        return msgspec.convert(stated, Monitoring)
    except OSError as error:
        raise InvalidManifest(f"policy {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidManifest(
            f"policy {path.name} is no YAML: {' '.join(str(error).split())}"
        ) from None
    except msgspec.ValidationError as error:
        raise InvalidManifest(f"policy {path.name}: {error}") from None
