"""`driftline rollout`: give a version a growing share of an alias's requests."""

import time
from datetime import UTC, datetime
from typing import Literal

import click

from driftline.changes import ChangeRollout, RegistryChange, StartRollout
from driftline.convergence import wait_for_workers
from driftline.registry_access import SERVER, RegistryAccess, open_access
from eventlog.errors import SettingError
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict
from registry.history.state import LifecycleState, reduce_rows
from registry.rollouts import parse_steps
from telemetry.clock import parse_duration

Action = Literal["advance", "pause", "resume", "promote"]


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [rollout]


@click.group()
def rollout() -> None:
    """Give a version a growing share of an alias's requests, and end that.

    A request's routing key decides which version answers, so a key stays with its version.
    """


_ALIAS = click.option("--alias", default="champion", show_default=True, help="Alias.")
_WHY = click.option("--why", default="", help="Reason, recorded with the change.")
_WAIT = click.option("--wait/--no-wait", default=True, help="Wait until every worker applied it.")


@rollout.command()
@click.argument("model")
@click.option("--version", "number", required=True, help="Number of the version.")
@click.option("--steps", default="5,25,50,100", show_default=True, help="Shares in percent.")
@click.option("--bake", default="10m", show_default=True, help="How long a step lasts at least.")
@click.option("--key-feature", default="", help="Feature whose value is the routing key.")
@click.option("--judge/--no-judge", default=True, help="Let the monitor advance and roll back.")
@click.option("--tolerate", default=1.25, show_default=True, help="Allowed rate, as a multiple.")
@click.option("--latency-objective", default=0.0, help="Milliseconds.  [default: measured]")
@_ALIAS
@_WHY
@_WAIT
@SERVER
def start(  # noqa: PLR0913  # its options
    *,
    model: str,
    number: str,
    steps: str,
    bake: str,
    key_feature: str,
    judge: bool,
    tolerate: float,
    latency_objective: float,
    alias: str,
    why: str,
    wait: bool,
    server: str,
) -> None:
    """Let a version of MODEL answer the first share of the requests for an alias.

    Both versions must take the same inputs and features.
    """
    access = open_access(server)
    change = StartRollout(
        number=number,
        steps=parse_steps(steps),
        bake_s=_seconds(bake),
        alias=alias,
        key_feature=key_feature,
        judge=judge,
        tolerate=tolerate,
        latency_ms=latency_objective,
        why=why,
    )
    _apply(access, model, change, wait=wait)


@rollout.command()
@click.argument("model")
@_ALIAS
@SERVER
def status(model: str, alias: str, server: str) -> None:
    """Show the latest rollout of an alias of MODEL, and what the monitor decided."""
    state = reduce_rows(open_access(server).history(model))
    now = state.rollouts.get(alias)
    if now is None:
        click.echo(f"{alias} of {model} had no rollout yet")
        return
    click.echo(_line(model, now))
    for line in _verdicts(state, now):
        click.echo(line)


def _change(action: Action, summary: str) -> None:
    """Add a command that changes the rollout under way."""

    @rollout.command(action, help=summary)
    @click.argument("model")
    @_ALIAS
    @_WHY
    @_WAIT
    @SERVER
    def command(*, model: str, alias: str, why: str, wait: bool, server: str) -> None:
        change = ChangeRollout(action=action, alias=alias, why=why)
        _apply(open_access(server), model, change, wait=wait)


_change("advance", "Begin the next step of the rollout of MODEL.")
_change("pause", "Hold the share of the rollout of MODEL.")
_change("resume", "Let the step of the rollout of MODEL bake again.")
_change("promote", "Point the alias of MODEL at the version that is rolled out.")


@rollout.command()
@click.argument("model")
@_ALIAS
@click.option("--why", required=True, help="Reason, recorded with the change.")
@click.option("--bar/--no-bar", default=False, help="Bar the content of the version.")
@_WAIT
@SERVER
def abort(  # noqa: PLR0913  # its options
    *, model: str, alias: str, why: str, bar: bool, wait: bool, server: str
) -> None:
    """End the rollout of MODEL: the version before answers everything again."""
    change = ChangeRollout(action="abort", alias=alias, why=why, bar=bar)
    _apply(open_access(server), model, change, wait=wait)


def _apply(access: RegistryAccess, model: str, change: RegistryChange, *, wait: bool) -> None:
    """Make a change of a rollout, and print what it is now."""
    done = access.change(model, change)
    if wait:
        wait_for_workers(access, done.revision, 60.0)
    assert done.rollout is not None
    click.echo(_line(model, done.rollout))


def _seconds(bake: str) -> int:
    try:
        return parse_duration(bake)
    except ValueError as error:
        raise SettingError(f"--bake {bake!r}: {error}") from None


def _line(model: str, now: Rollout) -> str:
    """Return one line about a rollout."""
    head = f"{model} {now.alias}: version {now.number}"
    if not now.active:
        why = f": {now.why}" if now.why else ""
        return f"{head} is {now.phase}{why} (rollout {now.id})"
    steps = ", ".join(f"{share:.4g}" for share in (100 * one for one in now.steps))
    since = datetime.fromtimestamp(now.since / 1e6, UTC)
    bakes = now.since / 1e6 + now.bake_s - time.time()
    left = f", bakes {bakes:.0f} s more" if bakes > 0 and now.phase == "running" else ""
    return (
        f"{head} answers {now.share * 100:.4g} % of the keys, version {now.before} the others; "
        f"{now.phase} since {since:%Y-%m-%d %H:%M:%S} UTC{left}; steps {steps} (rollout {now.id})"
    )


def _verdicts(state: LifecycleState, now: Rollout) -> list[str]:
    found = [row for row in state.verdicts if row.evidence == now.id]
    decoded = [(row, row.decode(RolloutVerdict)) for row in found]
    return [
        f"  {row.actor}: {one.verdict} at step {one.step + 1}: {row.why}" for row, one in decoded
    ]
