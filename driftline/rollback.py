"""`driftline rollback` points an alias at its earlier version; `unbar` allows barred content."""

import click

from driftline.changes import RollBack, Unbar
from driftline.convergence import print_serving_workers, wait_for_workers
from driftline.number_types import SECONDS
from driftline.registry_access import SERVER, open_access


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [rollback, unbar_command]


@click.command()
@click.argument("model")
@click.option(
    "--to",
    "number",
    default="",
    help="Number of the version.  [default: the alias's earlier version]",
)
@click.option("--alias", default="champion", show_default=True, help="Alias to set.")
@click.option("--why", required=True, help="Reason, recorded with the change.")
@click.option("--bar/--no-bar", default=True, help="Bar the alias's current content.")
@click.option("--wait/--no-wait", default=True, help="Wait until every worker has applied it.")
@click.option("--timeout", default=60.0, type=SECONDS, show_default=True, help="Seconds to wait.")
@SERVER
def rollback(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    number: str,
    alias: str,
    why: str,
    bar: bool,
    wait: bool,
    timeout: float,
    server: str,
) -> None:
    """Point an alias of MODEL at the version that it named before, and bar the current version.

    Until driftline unbar, neither promote nor provision can point an alias at barred content.
    """
    access = open_access(server)
    revision = access.history(model)[-1].revision  # so that a retried call rolls back once
    change = RollBack(alias=alias, number=number, bar=bar, why=why, expected_revision=revision)
    done = access.change(model, change)
    barred = f"; version {done.before} is barred" if done.barred else ""
    click.echo(f"{model} {alias} is version {done.number} again (revision {done.revision}){barred}")
    if wait:
        reports = wait_for_workers(access, done.revision, timeout)
        print_serving_workers(reports, model, alias, done.number)


@click.command("unbar")
@click.argument("model")
@click.option("--version", "number", required=True, help="Number of the version.")
@click.option("--why", required=True, help="Reason, recorded with the change.")
@SERVER
def unbar_command(model: str, number: str, why: str, server: str) -> None:
    """Allow aliases to name the barred content of a version of MODEL again."""
    done = open_access(server).change(model, Unbar(number=number, why=why))
    click.echo(f"{model} version {number} is no longer barred (revision {done.revision})")
