"""`driftline provision`: register the models of a folder, such as a volume or an image layer."""

from pathlib import Path

import click
import yaml

from driftline.gates.registration import gate_registered
from driftline.local_actor import local_actor
from eventlog.settings import Home
from registry.errors import InvalidManifest
from registry.manifest import Version
from registry.store import Registry
from registry.yaml_text import parse_yaml

_FILES = ("model.onnx", "manifest.yaml", "reference.parquet")
_ALIASES = "aliases.yaml"


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [provision]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default="", help="Model name, if FOLDER is one version.")
def provision(folder: Path, name: str) -> None:
    """Register the models of a folder and set their aliases; a second run changes nothing.

    An alias that was moved by another command since then stays where it is.

    FOLDER/MODEL/VERSION/ holds model.onnx, and may hold manifest.yaml and reference.parquet.
    Versions are registered in the order of their folder names (2 before 10) as 1, 2, and so on.
    FOLDER/MODEL/aliases.yaml maps aliases to folders; without it the last version becomes
    champion. With --name, FOLDER itself is a version.
    """
    registry = Registry(Home.from_environment(), wait=True)
    if name:
        _promote(registry, name, {"champion": _register(registry, name, folder).number})
        return
    found = [one for one in sorted(folder.iterdir()) if one.is_dir() and _versions(one)]
    if not found:
        raise InvalidManifest(f"{folder}: expected MODEL/VERSION/ with {_FILES[0]}")
    for model in found:
        numbers = {
            one.name: _register(registry, model.name, one).number for one in _versions(model)
        }
        _promote(registry, model.name, _aliases(model, numbers))


def _versions(model: Path) -> list[Path]:
    folders = [one for one in model.iterdir() if (one / _FILES[0]).is_file()]
    return sorted(folders, key=lambda one: (len(one.name), one.name))


def _register(registry: Registry, model: str, folder: Path) -> Version:
    from registry.batching import (  # noqa: PLC0415 - ONNX Runtime, which --help does without
        INDEPENDENT,
        explain,
        read_verdict,
    )

    actor = local_actor("register", model).name
    onnx, manifest, reference = (folder / name for name in _FILES)
    version = registry.register(
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
    return version


def _aliases(model: Path, numbers: dict[str, str]) -> dict[str, str]:
    """Return the version number of each alias."""
    path = model / _ALIASES
    if not path.is_file():
        return {"champion": list(numbers.values())[-1]}
    try:
        stated = parse_yaml(path.read_bytes())
    except yaml.YAMLError as error:
        raise InvalidManifest(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(stated, dict):
        raise InvalidManifest(f"{path}: expected alias: folder, for example champion: 2")
    named = {str(alias): str(folder) for alias, folder in stated.items()}
    if unknown := sorted(set(named.values()) - set(numbers)):
        known = ", ".join(numbers)
        raise InvalidManifest(f"{path}: no folder {', '.join(unknown)}; expected one of {known}")
    return {alias: numbers[folder] for alias, folder in named.items()}


def _promote(registry: Registry, model: str, aliases: dict[str, str]) -> None:
    actor = local_actor("promote", model).name
    for alias, number in aliases.items():
        before = registry.revision()
        row = registry.provide_alias(model, alias, number, actor=actor)
        if row.number != number:
            click.echo(
                f"{model} {alias} stays version {row.number}: {row.actor or 'unknown'} "
                f"set it in registry revision {row.revision}"
            )
        elif row.revision > before:
            click.echo(f"{model} {alias} is version {number}")
