"""`driftline manifest`."""

from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MODEL = click.Path(exists=True, path_type=Path)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [manifest]


@click.command()
@click.argument("onnx", type=_MODEL)
@click.option("--manifest", "stated", type=_FILE, help="YAML file; states what differs.")
@click.option("--reference", type=_FILE, help="Rows as .parquet, .csv, .npz or .npy.")
@click.option("--target", default="", help="Column of the reference that holds the labels.")
def manifest(onnx: Path, stated: Path | None, reference: Path | None, target: str) -> None:
    """Print the complete manifest that registration would infer, with comments, to be edited."""
    # ONNX Runtime and pandas, which --help does without.
    from registry.candidate import prepare  # noqa: PLC0415
    from registry.manifest_file import read_fields  # noqa: PLC0415
    from registry.manifest_text import manifest_text  # noqa: PLC0415
    from registry.model_file import read_model  # noqa: PLC0415
    from registry.reference_file import parse_reference  # noqa: PLC0415

    candidate = prepare(
        read_model(onnx),
        read_fields(stated) if stated else {},
        parse_reference(reference.read_bytes()) if reference else None,
        target=target,
    )
    click.echo(manifest_text(candidate.manifest, candidate.inference), nl=False)
