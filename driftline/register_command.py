"""`driftline register`."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from driftline.first_promotion import promote_first
from driftline.gates.registration import gate_registered
from driftline.local_actor import local_actor
from eventlog.settings import Home
from registry.inference_record import read_inference
from registry.manifest import Version
from registry.store import Registry

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MODEL = click.Path(exists=True, path_type=Path)  # a folder: with external data


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [register]


@click.command()
@click.argument("onnx", type=_MODEL)
@click.option("--name", required=True, help="Name of the model.")
@click.option(
    "--manifest", type=_FILE, help="YAML file; states what the ONNX file cannot, see docs."
)
@click.option(
    "--reference",
    type=_FILE,
    help="Rows as .parquet, .csv, .npz or .npy: the baseline of drift.",
)
@click.option("--target", default="", help="Column of the reference that holds the labels.")
@click.option(
    "--held-out/--not-held-out",
    "held_out",
    default=None,
    help="Your word that the model was not trained on the rows of the reference.",
)
@click.option(
    "--promote/--no-promote",
    "promoted",
    default=True,
    help="Promote the first version of a new model; later ones are never promoted.",
)
def register(  # noqa: PLR0913, PLR0917  # one for each option
    onnx: Path,
    name: str,
    manifest: Path | None,
    reference: Path | None,
    target: str,
    held_out: bool | None,  # noqa: FBT001  # click calls it by name
    promoted: bool,  # noqa: FBT001
) -> None:
    """Validate an ONNX model and store it as an immutable version of a model.

    The ONNX file alone is enough; a folder may hold it with its external data. What is inferred
    from it is printed.
    """
    from registry.manifest_file import read_fields  # noqa: PLC0415 - not for --help

    actor = local_actor("register", name).name
    registry = Registry(Home.from_environment(), wait=True)
    fields = read_fields(manifest) if manifest else {}
    version = registry.register(
        onnx,
        model=name,
        manifest=fields if held_out is None else fields | {"held_out": held_out},
        reference=reference,
        target=target,
        actor=actor,
    )
    click.echo(f"{name} version {version.number}, sha256 {version.digest}")
    _print(version)
    for doubt in read_inference(Path(version.path)).doubts:
        click.secho(f"warning: {doubt}", fg="yellow", err=True)
    gate_registered(Home.from_environment(), version)
    if promoted and promote_first(registry, version, actor):
        click.echo(f"{name} champion is version {version.number}: to serve it, driftline up")
    elif not registry.aliases(name):
        click.echo(f"to serve it: driftline promote {name} --version {version.number}")


def _print(version: Version) -> None:
    from driftline.registration import describe  # noqa: PLC0415

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in describe(version):
        table.add_row(heading, text)
    Console(highlight=False).print(table, markup=False)
