"""`driftline register`: register a model as a version."""

from pathlib import Path

import click

from driftline.changes import Describe
from driftline.describe import OWNER, TAG
from driftline.local_actor import local_actor
from driftline.printed_registration import register_and_print
from driftline.registry_access import SERVER, open_access, open_remote
from driftline.terminal import finish_unread
from eventlog.settings import Home
from registry.descriptions import require_description

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MODEL = click.Path(
    exists=True, path_type=Path
)  # a file, or a folder that also contains external data


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [register]


@click.command()
@click.argument("onnx", type=_MODEL)
@click.option("--name", required=True, help="Name of the model.")
@click.option(
    "--manifest",
    type=_FILE,
    help="YAML file of fields that cannot be inferred, see docs/manifest.md.",
)
@click.option(
    "--reference",
    type=_FILE,
    help="Rows with which drift is measured, as .parquet, .csv, .npz or .npy.",
)
@click.option("--target", default="", help="Column of the reference that contains the labels.")
@click.option(
    "--held-out/--not-held-out",
    "held_out",
    default=None,
    help="State whether the reference's rows were held out from training.",
)
@click.option(
    "--promote/--no-promote",
    "promoted",
    default=True,
    help="Promote the first version of a new model; later versions are never promoted.",
)
@click.option(
    "--answers",
    default="",
    metavar="REQUEST_ID",
    help="Id of the retraining request that the version answers.",
)
@OWNER
@TAG
@SERVER
@finish_unread()
def register(  # noqa: PLR0913  # one argument per option
    *,
    onnx: Path,
    name: str,
    manifest: Path | None,
    reference: Path | None,
    target: str,
    held_out: bool | None,
    promoted: bool,
    answers: str,
    owner: str | None,
    tags: tuple[str, ...],
    server: str,
) -> None:
    """Validate an ONNX model and store it as an immutable version of a model.

    ONNX is a file, or a folder that also contains external data. Registration infers missing fields
    of the manifest from the model, and prints them.
    """
    from registry.manifest_file import read_fields  # noqa: PLC0415 - not needed for --help

    fields = read_fields(manifest) if manifest else {}
    if held_out is not None:
        fields = {**fields, "held_out": held_out}
    require_description(owner or "", tags)
    if server:
        remote = open_remote(server)
        remote.register(
            name, onnx, fields, reference, target=target, promote=promoted, answers=answers
        )
        _describe(server, name, owner, tags)
        return
    register_and_print(
        Home.from_environment(),
        name,
        onnx,
        manifest=fields,
        reference=reference,
        target=target,
        actor=local_actor("register", name),
        promote=promoted,
        answers=answers,
    )
    _describe(server, name, owner, tags)


def _describe(server: str, name: str, owner: str | None, tags: tuple[str, ...]) -> None:
    if owner is not None or tags:
        open_access(server).change(name, Describe(owner=owner, add=list(tags)))
