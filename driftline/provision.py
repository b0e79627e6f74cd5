"""`driftline provision`: register the models of a folder, such as a volume or an image layer."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

from driftline.gates.registration import gate_registered
from driftline.local_actor import local_actor
from driftline.operator_changes import ProvideAlias
from driftline.registry_access import SERVER, RegistryAccess, open_access, open_remote
from driftline.terminal import finish_unread
from eventlog.settings import Home
from registry.errors import InvalidManifest
from registry.store import Registry
from registry.yaml_text import parse_yaml

if TYPE_CHECKING:
    from driftline.remote.client import RemoteRegistry

_FILES = ("model.onnx", "manifest.yaml", "reference.parquet")
_ALIASES = "aliases.yaml"


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [provision]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default="", help="Model name, if FOLDER is one version.")
@SERVER
@finish_unread()
def provision(folder: Path, name: str, server: str) -> None:
    """Register the models of a folder and set their aliases; a second run changes nothing.

    An alias that another command has changed since the first run is not changed.

    FOLDER/MODEL/VERSION/ contains model.onnx and, optionally, manifest.yaml and reference.parquet.
    Versions are registered in the order of their folder names (2 before 10) as 1, 2, and so on.
    FOLDER/MODEL/aliases.yaml maps aliases to folders; without this file, the last version becomes
    champion. With --name, FOLDER itself is a version.
    """
    register = partial(_register_remote, open_remote(server)) if server else _register_local
    access = open_access(server)
    if name:
        _provide(access, name, {"champion": register(name, folder)})
        return
    models = [path for path in sorted(folder.iterdir()) if path.is_dir() and _versions(path)]
    if not models:
        raise InvalidManifest(f"{folder}: expected MODEL/VERSION/ with {_FILES[0]}")
    for model in models:
        numbers = {version.name: register(model.name, version) for version in _versions(model)}
        _provide(access, model.name, _aliases(model, numbers))


def _versions(model: Path) -> list[Path]:
    folders = [path for path in model.iterdir() if (path / _FILES[0]).is_file()]
    return sorted(folders, key=lambda path: (len(path.name), path.name))


def _register_remote(remote: "RemoteRegistry", model: str, folder: Path) -> str:
    """Register a folder on a registry server; return the number of the version."""
    from registry.manifest_file import read_fields  # noqa: PLC0415 - needed with --server only

    onnx, manifest, reference = (folder / name for name in _FILES)
    return remote.register(
        model,
        onnx,
        read_fields(manifest) if manifest.is_file() else {},
        reference if reference.is_file() else None,
        target="",
        promote=False,
    ).number


def _register_local(model: str, folder: Path) -> str:
    """Register a folder on this machine; return the number of the version."""
    from registry.batching import (  # noqa: PLC0415 - not needed for --help
        INDEPENDENT,
        explain,
        read_verdict,
    )

    actor = local_actor("register", model).name
    onnx, manifest, reference = (folder / name for name in _FILES)
    version = Registry(Home.from_environment(), wait=True).register(
        onnx,
        model=model,
        manifest=manifest if manifest.is_file() else None,
        reference=reference if reference.is_file() else None,
        actor=actor,
    )
    click.echo(f"{model} version {version.number}, sha256 {version.digest}")
    gate_registered(Home.from_environment(), version, actor)
    for sentence in explain(version.manifest, read_verdict(version) or INDEPENDENT):
        click.echo(sentence)
    return version.number


def _aliases(model: Path, numbers: dict[str, str]) -> dict[str, str]:
    """Return the version number of each alias in aliases.yaml, or the last version as champion."""
    path = model / _ALIASES
    if not path.is_file():
        return {"champion": list(numbers.values())[-1]}
    try:
        content = parse_yaml(path.read_bytes())
    except yaml.YAMLError as error:
        raise InvalidManifest(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InvalidManifest(f"{path}: expected lines `alias: folder`, for example champion: 2")
    folders = {str(alias): str(folder) for alias, folder in content.items()}
    if unknown := sorted(set(folders.values()) - set(numbers)):
        names = ", ".join(numbers)
        raise InvalidManifest(f"{path}: no folder {', '.join(unknown)}; expected one of {names}")
    return {alias: numbers[folder] for alias, folder in folders.items()}


def _provide(access: RegistryAccess, model: str, aliases: dict[str, str]) -> None:
    for alias, number in aliases.items():
        done = access.change(model, ProvideAlias(number=number, alias=alias))
        if done.number != number:
            click.echo(
                f"{model} {alias} stays version {done.number}: {done.actor or 'unknown'} "
                f"set it in registry revision {done.revision}"
            )
        elif done.changed:
            click.echo(f"{model} {alias} is version {number}")
