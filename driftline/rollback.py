"""`driftline rollback` and `unbar`."""

import click

from driftline.convergence import print_serving_workers, wait_for_workers
from driftline.local_actor import local_actor
from eventlog.settings import Home
from registry.rollback import earlier_version, roll_back, unbar
from registry.settings import open_history
from registry.store import Registry


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
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait.")
def rollback(  # noqa: PLR0913  # its options
    *, model: str, number: str, alias: str, why: str, bar: bool, wait: bool, timeout: float
) -> None:
    """Point an alias of MODEL back at the version that it named before, and bar the present one.

    No alias can be pointed at barred content, by promote or by provision, until driftline unbar.
    """
    home = Home.from_environment()
    history = open_history(home, wait=True)
    state = history.state(model)
    target = number or earlier_version(state, model, alias)
    Registry(home).version(model, target)  # it can be read
    done = roll_back(
        history,
        model,
        alias,
        target,
        expected_revision=state.revision,
        actor=local_actor("promote", model).name,
        why=why,
        bar=bar,
    )
    barred = f"; version {done.before} is barred" if done.barred else ""
    click.echo(f"{model} {alias} is version {target} again (revision {done.revision}){barred}")
    if wait:
        reports = wait_for_workers(home, done.revision, timeout)
        print_serving_workers(reports, model, alias, target)


@click.command("unbar")
@click.argument("model")
@click.option("--version", "number", required=True, help="Number of the version.")
@click.option("--why", required=True, help="Reason, recorded with the change.")
def unbar_command(model: str, number: str, why: str) -> None:
    """Let aliases name the content of a version of MODEL again."""
    history = open_history(Home.from_environment(), wait=True)
    revision = unbar(history, model, number, actor=local_actor("promote", model).name, why=why)
    click.echo(f"{model} version {number} is no longer barred (revision {revision})")
