"""`driftline models`, `promote` and `unload`."""

from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from driftline.changes import Promote
from driftline.convergence import print_loaded_workers, print_serving_workers, wait_for_workers
from driftline.local_actor import local_actor
from driftline.registry_access import SERVER, open_access
from eventlog.settings import Home
from registry.shared_workers import AllWorkers
from registry.store import Registry


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [models, promote, unload]


@click.command()
@SERVER
def models(server: str) -> None:
    """List every model, its versions and their aliases."""
    table = Table("model", "version", "aliases", "registered", "digest", "not ready", box=None)
    for one in open_access(server).models():
        if one.damaged:
            click.secho(f"warning: {one.damaged}", fg="yellow", err=True)
            continue
        table.add_row(
            one.model,
            one.number,
            ", ".join(one.aliases),
            _day(one.registered),
            one.digest[:12],
            "; ".join(one.reasons),
        )
    if table.rows:
        Console().print(table)
    else:
        click.echo("No model is registered; see driftline register --help.")


_WAIT = click.option("--wait/--no-wait", default=True, help="Wait until every worker applied it.")
_TIMEOUT = click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait.")


@click.command()
@click.argument("model")
@click.option("--version", "number", required=True, help="Number of the version, for example 2.")
@click.option("--alias", default="champion", show_default=True, help="Alias to set.")
@click.option("--why", default="", help="Reason, recorded with the change.")
@click.option(
    "--expected-revision", type=int, help="Refuse if the model changed after this revision."
)
@_WAIT
@_TIMEOUT
@SERVER
def promote(  # noqa: PLR0913  # its options
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
@click.option("--undo", is_flag=True, help="Load again.")
@_WAIT
@_TIMEOUT
def unload(model: str, number: str, undo: bool, wait: bool, timeout: float) -> None:  # noqa: FBT001  # click calls it by name
    """Unload a version, or every version of a model, in every worker."""
    home = Home.from_environment()
    change = Registry(home, wait=True).load if undo else Registry(home, wait=True).unload
    revision = change(model, number, actor=local_actor("operate", model).name)
    what = f"{model} version {number}" if number else f"every version of {model}"
    state = "loaded" if undo else "unloaded"
    click.echo(f"{what}: desired state {state} (registry revision {revision})")
    if not wait:
        return
    reports = wait_for_workers(AllWorkers(home), revision, timeout)
    if undo:
        print_loaded_workers(reports, model, number)
    else:
        click.echo(f"{len(reports)} of {len(reports)} workers have unloaded it")


def _day(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
