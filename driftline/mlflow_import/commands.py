"""`driftline import`, `follow` and `export`: import versions from MLflow, export verdicts."""

import time
from pathlib import Path

import click

from driftline.mlflow_import.catalogue import MlflowCatalogue
from driftline.mlflow_import.follower import MlflowFollower
from driftline.mlflow_import.run import ImportOptions, MlflowImport
from driftline.mlflow_import.sources import parse_name
from driftline.number_types import FiniteRange
from driftline.registry_access import SERVER
from driftline.terminal import finish_unread
from eventlog.errors import DriftlineError, SettingError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NAME = click.option("--name", default="", help="Name in Driftline.  [default: the name in MLflow]")
_URI = click.option(
    "--tracking-uri", default="", help="URI of MLflow.  [default: MLFLOW_TRACKING_URI]"
)
_TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Convert models that are not ONNX files; this runs their author's code in a new process.",
)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [import_version, follow, export]


@click.command("import")
@click.argument("source")
@_NAME
@click.option("--manifest", type=_FILE, help="YAML file of fields that replace MLflow's.")
@click.option("--reference", type=_FILE, help="File of rows with which drift is measured.")
@_URI
@_TRUST
@click.option("--promote/--no-promote", default=True, help="Promote the first version of a model.")
@SERVER
@finish_unread()
def import_version(  # noqa: PLR0913  # one argument per option
    *,
    source: str,
    name: str,
    manifest: Path | None,
    reference: Path | None,
    tracking_uri: str,
    trust: bool,
    promote: bool,
    server: str,
) -> None:
    """Register a model of MLflow.

    SOURCE is mlflow:MODEL@ALIAS, mlflow:MODEL/VERSION or mlflow:runs:/RUN/PATH. Without --trust,
    the model must be an ONNX file. The columns of its signature become features. MLflow's run, tags
    and data sets become the lineage. An ONNX model is run on its input example.
    """
    from registry.manifest_file import read_fields  # noqa: PLC0415 - not needed for --help

    mlflow_name = parse_name(source)
    if mlflow_name.run and not name:
        raise SettingError(f"{source}: a run has no registered name; expected --name")
    fields = read_fields(manifest) if manifest else {}
    catalogue = MlflowCatalogue(tracking_uri)
    MlflowImport(catalogue, server).include(
        name or mlflow_name.model,
        catalogue.find(mlflow_name),
        ImportOptions(reference, fields, trust, promote),
    )


@click.command()
@click.argument("registry", type=click.Choice(["mlflow"]))
@click.argument("model")
@_NAME
@click.option(
    "--interval",
    default=30.0,
    type=FiniteRange(min=1),
    show_default=True,
    help="Seconds between two checks of MLflow.",
)
@click.option("--once", is_flag=True, help="Check once and exit, for a scheduler or a webhook.")
@_URI
@_TRUST
@SERVER
def follow(  # noqa: PLR0913  # one argument per option
    *,
    registry: str,
    model: str,
    name: str,
    interval: float,
    once: bool,
    tracking_uri: str,
    trust: bool,
    server: str,
) -> None:
    """Register every new version of MODEL in MLflow and export verdicts, until Ctrl-C.

    No version is promoted: Driftline's gates and approvals decide on promotion.
    """
    del registry  # always mlflow
    if interval <= 0:
        raise click.UsageError("--interval: expected seconds above 0")
    importer = MlflowImport(MlflowCatalogue(tracking_uri), server)
    follower = MlflowFollower(importer, model, name or model, trust=trust)
    while True:
        try:
            follower.reconcile()
        except DriftlineError as error:
            if once:
                raise
            click.echo(f"{error}; retry in {interval:g} s", err=True)
        if once:
            break
        time.sleep(interval)
    if follower.refused:
        raise SettingError(f"{len(follower.refused)} versions of {model} were refused; see above")


@click.command()
@click.argument("registry", type=click.Choice(["mlflow"]))
@click.argument("model")
@_URI
@SERVER
def export(*, registry: str, model: str, tracking_uri: str, server: str) -> None:
    """Tag the imported versions of MODEL in MLflow with aliases, verdicts, reports and digests."""
    del registry  # always mlflow
    tagged = MlflowImport(MlflowCatalogue(tracking_uri), server).export(model)
    click.echo(f"{tagged} versions are tagged in MLflow")
