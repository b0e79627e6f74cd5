"""`driftline promote` points an alias at a version; `driftline unload` unloads versions."""

import click

from driftline.changes import Promote
from driftline.convergence import print_loaded_workers, print_serving_workers, wait_for_workers
from driftline.number_types import SECONDS
from driftline.operator_changes import Load, Unload
from driftline.registry_access import EXPECTED_REVISION, SERVER, open_access


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [promote, unload]


_WAIT = click.option(
    "--wait/--no-wait", default=True, help="Wait until every worker has applied it."
)
_TIMEOUT = click.option(
    "--timeout", default=60.0, type=SECONDS, show_default=True, help="Seconds to wait."
)


@click.command()
@click.argument("model")
@click.option("--version", "number", required=True, help="Number of the version, for example 2.")
@click.option("--alias", default="champion", show_default=True, help="Alias to set.")
@click.option("--why", default="", help="Reason, recorded with the change.")
@EXPECTED_REVISION
@_WAIT
@_TIMEOUT
@SERVER
def promote(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    number: str,
    alias: str,
    why: str,
    expected_revision: int | None,
    wait: bool,
    timeout: float,
    server: str,
) -> None:
    """Point an alias at a version; requests without a version use the alias champion."""
    access = open_access(server)
    change = Promote(number=number, alias=alias, why=why, expected_revision=expected_revision)
    revision = access.change(model, change).revision
    click.echo(f"{model} {alias} is version {number} (registry revision {revision})")
    if wait:
        print_serving_workers(wait_for_workers(access, revision, timeout), model, alias, number)


@click.command()
@click.argument("model")
@click.option("--version", "number", default="", help="Only this version.  [default: all versions]")
@click.option("--undo", is_flag=True, help="Load the versions again.")
@_WAIT
@_TIMEOUT
@SERVER
def unload(  # noqa: PLR0913  # one argument per option
    *, model: str, number: str, undo: bool, wait: bool, timeout: float, server: str
) -> None:
    """Unload a version, or every version of a model, in every worker."""
    access = open_access(server)
    change = Load(number=number) if undo else Unload(number=number)
    revision = access.change(model, change).revision
    subject = f"{model} version {number}" if number else f"every version of {model}"
    state = "loaded" if undo else "unloaded"
    click.echo(f"{subject}: desired state {state} (registry revision {revision})")
    if not wait:
        return
    reports = wait_for_workers(access, revision, timeout)
    if undo:
        print_loaded_workers(reports, model, number)
    else:
        click.echo(f"{len(reports)} of {len(reports)} workers have unloaded it")
