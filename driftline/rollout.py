"""`driftline rollout`: give a version a growing share of an alias's requests."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import inf

import click

from driftline.convergence import wait_for_workers
from driftline.local_actor import local_actor
from eventlog.errors import SettingError
from eventlog.settings import Home
from registry.errors import VersionRefused
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict, VerdictPolicy
from registry.history.state import LifecycleState
from registry.rollouts import Rollouts, active, parse_steps, require_same_requests
from registry.settings import open_history
from registry.store import Registry
from telemetry.clock import parse_duration


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
) -> None:
    """Let a version of MODEL answer the first share of the requests for an alias.

    Both versions must take the same inputs and features.
    """
    home = Home.from_environment()
    history, registry = open_history(home, wait=True), Registry(home)
    shares, seconds = parse_steps(steps), _seconds(bake)
    policy = _policy(tolerate, latency_objective) if judge else None
    manifest = registry.version(model, number).manifest
    before = history.state(model).aliases.get(alias)
    if before is not None:
        require_same_requests(model, registry.version(model, before).manifest, manifest)
    _require_feature(key_feature, [one.name for one in manifest.features])
    revision = Rollouts(history).start(
        model,
        number,
        alias,
        shares,
        bake_s=seconds,
        actor=local_actor("promote", model).name,
        why=why,
        feature=key_feature,
        policy=policy,
    )
    _applied(home, revision, wait=wait)
    click.echo(_line(model, active(history.state(model), model, alias)))


@rollout.command()
@click.argument("model")
@_ALIAS
def status(model: str, alias: str) -> None:
    """Show the latest rollout of an alias of MODEL, and what the monitor decided."""
    state = open_history(Home.from_environment()).state(model)
    now = state.rollouts.get(alias)
    if now is None:
        click.echo(f"{alias} of {model} had no rollout yet")
        return
    click.echo(_line(model, now))
    for line in _verdicts(state, now):
        click.echo(line)


def _change(name: str, change: Callable[..., int], summary: str) -> None:
    """Add a command that changes the rollout under way."""

    @rollout.command(name, help=summary)
    @click.argument("model")
    @_ALIAS
    @_WHY
    @_WAIT
    def command(*, model: str, alias: str, why: str, wait: bool) -> None:
        _apply(change, model, alias, why, wait=wait)


_change("advance", Rollouts.advance, "Begin the next step of the rollout of MODEL.")
_change("pause", Rollouts.pause, "Hold the share of the rollout of MODEL.")
_change("resume", Rollouts.resume, "Let the step of the rollout of MODEL bake again.")
_change("promote", Rollouts.promote, "Point the alias of MODEL at the version that is rolled out.")


@rollout.command()
@click.argument("model")
@_ALIAS
@click.option("--why", required=True, help="Reason, recorded with the change.")
@click.option("--bar/--no-bar", default=False, help="Bar the content of the version.")
@_WAIT
def abort(*, model: str, alias: str, why: str, bar: bool, wait: bool) -> None:
    """End the rollout of MODEL: the version before answers everything again."""
    _apply(partial(Rollouts.abort, bar=bar), model, alias, why, wait=wait)


def _apply(change: Callable[..., int], model: str, alias: str, why: str, *, wait: bool) -> None:
    """Make a change of the rollout under way, and print what it is now."""
    home = Home.from_environment()
    history = open_history(home, wait=True)
    actor = local_actor("promote", model).name
    revision = change(Rollouts(history), model, alias, actor=actor, why=why)
    _applied(home, revision, wait=wait)
    click.echo(_line(model, history.state(model).rollouts[alias]))


def _require_feature(name: str, known: list[str]) -> None:
    if name and name not in known:
        raise VersionRefused(f"no feature {name!r}; features: {', '.join(known) or 'none'}")


def _policy(tolerate: float, latency_ms: float) -> VerdictPolicy:
    if not 1 <= tolerate < inf:
        raise SettingError(f"--tolerate {tolerate:g}: expected at least 1")
    if not 0 <= latency_ms < inf:
        raise SettingError(f"--latency-objective {latency_ms:g}: expected milliseconds")
    return VerdictPolicy(tolerate=tolerate, latency_ms=latency_ms)


def _seconds(bake: str) -> int:
    try:
        return parse_duration(bake)
    except ValueError as error:
        raise SettingError(f"--bake {bake!r}: {error}") from None


def _applied(home: Home, revision: int, *, wait: bool) -> None:
    if wait:
        wait_for_workers(home, revision, 60.0)


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
