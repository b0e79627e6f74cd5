"""`driftline register`, `models` and `promote`."""

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from eventlog.settings import Home
from registry.reference import doubts, load_reference
from registry.store import Registry

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def commands() -> list[click.Command]:
    """The commands of this file."""
    return [register, models, promote]


@click.command()
@click.argument("onnx", type=_FILE)
@click.option("--name", required=True, help="The model this is a version of.")
@click.option("--manifest", required=True, type=_FILE, help="YAML; see docs/manifest.md.")
@click.option("--reference", required=True, type=_FILE, help="Parquet; rows not trained on.")
def register(onnx: Path, name: str, manifest: Path, reference: Path) -> None:
    """Validate an ONNX model and store it as an immutable version."""
    registry = Registry(Home.from_environment())
    version = registry.register(
        onnx, model=name, manifest=manifest, reference=reference, actor=getpass.getuser()
    )
    click.echo(f"{name} version {version.number}, sha256 {version.digest}")
    for doubt in doubts(version.manifest, load_reference(version)):
        click.secho(f"warning: {doubt}", fg="yellow", err=True)
    if not registry.aliases(name):
        click.echo(f"serve it: driftline promote {name} --version {version.number}")


@click.command()
def models() -> None:
    """List every model, its versions and the aliases that name them."""
    registry = Registry(Home.from_environment())
    table = Table("model", "version", "aliases", "registered", "digest", box=None)
    for model in registry.models():
        aliases = registry.aliases(model)
        for version in registry.versions(model):
            named = [alias for alias, number in aliases.items() if number == version.number]
            registered = _day(version.created)
            table.add_row(model, version.number, ", ".join(named), registered, version.digest[:12])
    if table.rows:
        Console().print(table)
    else:
        click.echo("No model is registered yet; see driftline register --help.")


@click.command()
@click.argument("model")
@click.option("--version", "number", required=True, help="The version's number, e.g. 2.")
@click.option("--alias", default="champion", show_default=True, help="The name to move.")
def promote(model: str, number: str, alias: str) -> None:
    """Let an alias name a version; clients that name no version get the champion."""
    registry = Registry(Home.from_environment())
    revision = registry.promote(model, number, alias=alias, actor=getpass.getuser())
    click.echo(f"{model} {alias} is version {number} (registry revision {revision})")


def _day(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
