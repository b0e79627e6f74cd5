"""`driftline models`, `promote` and `unload`."""

from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from driftline.convergence import print_loaded_workers, print_serving_workers, wait_for_workers
from driftline.local_actor import local_actor
from eventlog.settings import Home
from registry.shared_workers import AllWorkers
from registry.store import Registry


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [models, promote, unload]


@click.command()
def models() -> None:
    """List every model, its versions and their aliases."""
    home = Home.from_environment()
    registry, workers = Registry(home, wait=True), AllWorkers(home).read()
    table = Table("model", "version", "aliases", "registered", "digest", "not ready", box=None)
    for model in registry.models():
        state = registry.state(model)
        for number, reason in state.damaged.items():
            if number not in state.remote:
                click.secho(f"warning: {reason}", fg="yellow", err=True)
        digests = {one.number: (one.created, one.digest) for one in state.versions}
        if state.remote:
            rows = [row for row in registry.history(model) if row.kind == "registered"]
            digests |= {r.number: (r.time, r.digest) for r in rows if r.number in state.remote}
        for number, (created, digest) in sorted(digests.items(), key=lambda one: int(one[0])):
            named = [alias for alias, of in state.desired.aliases.items() if of == number]
            reasons = {w.unready.get(model, {}).get(number, "") for w in workers} - {""}
            if candidate := state.desired.candidates.get(number):
                reasons.add(f"candidate: {candidate}")
            table.add_row(
                model,
                number,
                ", ".join(named),
                _day(created),
                digest[:12],
                "; ".join(sorted(reasons)),
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
def promote(  # noqa: PLR0913  # its options
    *,
    model: str,
    number: str,
    alias: str,
    why: str,
    expected_revision: int | None,
    wait: bool,
    timeout: float,
) -> None:
    """Point an alias at a version; requests without a version use the alias champion."""
    home = Home.from_environment()
    revision = Registry(home, wait=True).promote(
        model,
        number,
        alias=alias,
        actor=local_actor("promote", model).name,
        why=why,
        expected_revision=expected_revision,
    )
    click.echo(f"{model} {alias} is version {number} (registry revision {revision})")
    if wait:
        print_serving_workers(wait_for_workers(home, revision, timeout), model, alias, number)


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
    reports = wait_for_workers(home, revision, timeout)
    if undo:
        print_loaded_workers(reports, model, number)
    else:
        click.echo(f"{len(reports)} of {len(reports)} workers have unloaded it")


def _day(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
