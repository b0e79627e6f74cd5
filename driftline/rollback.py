"""`driftline rollback` and `unbar`."""

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
@click.option("--to", "number", default="", help="Version.  [default: the one before]")
@click.option("--alias", default="champion", show_default=True, help="Alias to set.")
@click.option("--why", required=True, help="Reason, recorded with the change.")
@click.option("--bar/--no-bar", default=True, help="Bar the content that the alias names now.")
@click.option("--wait/--no-wait", default=True, help="Wait until every worker applied it.")
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
    """Point an alias of MODEL back at the version that it named before, and bar the present one.

    No alias can be pointed at barred content, by promote or by provision, until driftline unbar.
    """
    access = open_access(server)
    revision = access.history(model)[-1].revision  # so that a repeated call rolls back once
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
    """Let aliases name the content of a version of MODEL again."""
    done = open_access(server).change(model, Unbar(number=number, why=why))
    click.echo(f"{model} version {number} is no longer barred (revision {done.revision})")
