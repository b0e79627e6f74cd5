"""`driftline manifest`: print the manifest that registration would infer."""

import tempfile
from pathlib import Path

import click
import msgspec

from registry.manifest import Manifest

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MODEL = click.Path(exists=True, path_type=Path)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [manifest]


@click.command()
@click.argument("onnx", type=_MODEL)
@click.option(
    "--manifest",
    "fields_file",
    type=_FILE,
    help="YAML file of fields that replace inferred fields.",
)
@click.option("--reference", type=_FILE, help="Rows as .parquet, .csv, .npz or .npy.")
@click.option("--target", default="", help="Column of the reference that contains the labels.")
def manifest(onnx: Path, fields_file: Path | None, reference: Path | None, target: str) -> None:
    """Print the complete manifest that registration would infer, with comments, for editing."""
    # Imported here because --help does not need ONNX.
    from registry.bounded.check import check_in_process  # noqa: PLC0415
    from registry.inference_record import read_inference  # noqa: PLC0415
    from registry.manifest_file import read_fields  # noqa: PLC0415
    from registry.manifest_text import manifest_text  # noqa: PLC0415
    from registry.model_file import read_model  # noqa: PLC0415
    from registry.stored_files import DATA  # noqa: PLC0415

    rows = reference.read_bytes() if reference else None
    fields = read_fields(fields_file) if fields_file else {}
    with tempfile.TemporaryDirectory(prefix="driftline-manifest-") as name:
        folder = Path(name)
        model = read_model(onnx, folder / DATA)
        check_in_process(folder, model, fields, rows, target=target, infer_only=True)
        completed = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
        inference = read_inference(folder)
    click.echo(manifest_text(completed, inference), nl=False)
