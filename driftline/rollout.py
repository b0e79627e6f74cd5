"""`driftline rollout`: move an alias's requests to another version, step by step."""

import time
from datetime import UTC, datetime
from typing import Literal, get_args

import click
import msgspec

from driftline.changes import ChangeRollout, StartRollout
from driftline.convergence import wait_for_workers
from driftline.number_types import FINITE, FiniteRange
from driftline.registry_access import SERVER, RegistryAccess, open_access
from driftline.registry_change import RegistryChange
from eventlog.errors import SettingError
from eventlog.settings import Home
from registry.history.lifecycle import LifecycleState, reduce_rows
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict, VerdictMetric
from registry.rollout_pauses import pause_of
from registry.rollouts import parse_steps
from telemetry.clock import now_us, parse_duration

Action = Literal["advance", "pause", "resume", "promote"]


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [rollout]


@click.group()
def rollout() -> None:
    """Move an alias's requests to another version, step by step.

    A request's routing key selects the version, so equal keys are answered by the same version.
    """


_ALIAS = click.option("--alias", default="champion", show_default=True, help="Alias of MODEL.")
_WHY = click.option("--why", default="", help="Reason, recorded with the change.")
_WAIT = click.option(
    "--wait/--no-wait", default=True, help="Wait until every worker has applied it."
)


@rollout.command()
@click.argument("model")
@click.option("--version", "number", required=True, help="Number of the version.")
@click.option(
    "--steps", default="5,25,50,100", show_default=True, help="Shares of the steps, in percent."
)
@click.option("--bake", default="10m", show_default=True, help="Minimum duration of a step.")
@click.option("--key-feature", default="", help="Feature whose value is the routing key.")
@click.option(
    "--judge/--no-judge", default=True, help="Whether the monitor advances and rolls back."
)
@click.option(
    "--tolerate",
    default=1.25,
    type=FINITE,
    show_default=True,
    help="Accepted rate of bad routing keys, as a multiple of the earlier version's rate.",
)
@click.option(
    "--latency-objective",
    default=0.0,
    type=FiniteRange(min=0),
    help="Latency, in milliseconds, above which answers are bad.  [default: measured]",
)
@click.option(
    "--metrics", default="", help="Metrics to judge.  [default: errors,latency,outputs,labels]"
)
@click.option(
    "--patience",
    default=6.0,
    type=FINITE,
    show_default=True,
    help="Bake times after which a step without a result pauses.",
)
@click.option(
    "--expire",
    default=6.0,
    type=FINITE,
    show_default=True,
    help="Bake times after which a paused rollout ends.",
)
@_ALIAS
@_WHY
@_WAIT
@SERVER
def start(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    number: str,
    steps: str,
    bake: str,
    key_feature: str,
    judge: bool,
    tolerate: float,
    latency_objective: float,
    metrics: str,
    patience: float,
    expire: float,
    alias: str,
    why: str,
    wait: bool,
    server: str,
) -> None:
    """Start to move an alias's requests to a version of MODEL, with the first step.

    Both versions must have the same inputs and features.
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
        metrics=_metrics(metrics),
        patience=patience,
        expire=expire,
        why=why,
    )
    _apply(access, model, change, wait=wait)


@rollout.command()
@click.argument("model")
@_ALIAS
@SERVER
def status(model: str, alias: str, server: str) -> None:
    """Show the latest rollout of an alias of MODEL, and the monitor's verdicts."""
    # Imported here because these packages need the extra `monitoring`.
    from driftline.monitor_api import awaited_conditions  # noqa: PLC0415
    from monitoring.presenter.rollout_waits import wait_sentences  # noqa: PLC0415
    from monitoring.rollouts.judgements import read_judgements  # noqa: PLC0415

    state = reduce_rows(open_access(server).history(model))
    now = state.rollouts.get(alias)
    if now is None:
        click.echo(f"{alias} of {model} has had no rollout yet")
        return
    replaced = state.replaced_by(now)
    then = f"; {alias} is version {replaced} now" if replaced else ""
    click.echo(rollout_line(model, now) + then)
    judgements = {} if server else read_judgements(Home.from_environment())
    pause, judgement = pause_of(state, now), judgements.get(now.id)
    lines = awaited_conditions(model, alias, now.id) if server and now.phase == "running" else ()
    for sentence in lines or wait_sentences(now, pause, judgement, now_us(), here=not server):
        click.echo(f"  {sentence}")
    for line in _verdicts(state, now):
        click.echo(line)


def _change(action: Action, summary: str) -> None:
    """Add a command that changes the active rollout."""

    @rollout.command(action, help=summary)
    @click.argument("model")
    @_ALIAS
    @_WHY
    @_WAIT
    @SERVER
    def command(*, model: str, alias: str, why: str, wait: bool, server: str) -> None:
        change = ChangeRollout(action=action, alias=alias, why=why)
        _apply(open_access(server), model, change, wait=wait)


_change("advance", "Start the next step of the rollout of MODEL.")
_change("pause", "Pause the rollout of MODEL at its current share.")
_change("resume", "Resume the rollout of MODEL; the current step bakes again.")
_change("promote", "End the rollout of MODEL; its version answers all requests.")


@rollout.command()
@click.argument("model")
@_ALIAS
@click.option("--why", required=True, help="Reason, recorded with the change.")
@click.option("--bar/--no-bar", default=False, help="Bar the content of the version.")
@_WAIT
@SERVER
def abort(  # noqa: PLR0913  # one argument per option
    *, model: str, alias: str, why: str, bar: bool, wait: bool, server: str
) -> None:
    """End the rollout of MODEL; the earlier version answers all requests again."""
    change = ChangeRollout(action="abort", alias=alias, why=why, bar=bar)
    _apply(open_access(server), model, change, wait=wait)


@rollout.command()
@click.argument("model")
@click.option(
    "--version", "number", default="", help="Number.  [default: version of the latest rollout]"
)
@click.option("--metrics", default="", help="As in rollout start.  [default: as recorded]")
@click.option("--tolerate", type=FINITE, help="As in rollout start.  [default: as recorded]")
@click.option("--patience", type=FINITE, help="As in rollout start.  [default: as recorded]")
@_ALIAS
def backtest(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    number: str,
    metrics: str,
    tolerate: float | None,
    patience: float | None,
    alias: str,
) -> None:
    """Judge a past rollout of MODEL again from the log.

    With other options, this shows the verdicts of another policy. Nothing is changed.
    """
    # Imported here because this module needs the extra `monitoring`.
    from driftline.rollout_backtest import print_backtest  # noqa: PLC0415

    print_backtest(
        model,
        alias=alias,
        number=number,
        metrics=_metrics(metrics),
        tolerate=tolerate,
        patience=patience,
    )


def _apply(access: RegistryAccess, model: str, change: RegistryChange, *, wait: bool) -> None:
    """Apply a change of a rollout, and print the rollout's new state."""
    done = access.change(model, change)
    if wait:
        wait_for_workers(access, done.revision, 60.0)
    assert done.rollout is not None
    click.echo(rollout_line(model, done.rollout))


def _seconds(bake: str) -> int:
    try:
        return parse_duration(bake)
    except ValueError as error:
        raise SettingError(f"--bake {bake!r}: {error}") from None


def _metrics(text: str) -> list[VerdictMetric]:
    try:
        names = [word.strip() for word in text.split(",") if word.strip()]
        return msgspec.convert(names, list[VerdictMetric])
    except msgspec.ValidationError:
        expected = ", ".join(get_args(VerdictMetric))
        raise SettingError(f"--metrics {text!r}: expected a list of {expected}") from None


def rollout_line(model: str, now: Rollout) -> str:
    """Return the state of a rollout as one line."""
    head = f"{model} {now.alias}: version {now.number}"
    if not now.active:
        why = f": {now.why}" if now.why else ""
        return f"{head} is {now.phase}{why} (rollout {now.id})"
    steps = ", ".join(f"{share:.4g}" for share in (100 * step for step in now.steps))
    since = ""  # omitted for a pause: `now.since` is the start of the step, not of the pause
    if now.phase == "running":
        since = f" since {datetime.fromtimestamp(now.since / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
        remaining = now.since / 1e6 + now.bake_s - time.time()
        since += f", bakes {remaining:.0f} s more" if remaining > 0 else ""
    return (
        f"{head} answers {now.share * 100:.4g} % of the keys, version {now.before} the others; "
        f"{now.phase}{since}; steps {steps} (rollout {now.id})"
    )


def _verdicts(state: LifecycleState, now: Rollout) -> list[str]:
    rows = [row for row in state.verdicts if row.evidence == now.id]
    decoded = [(row, row.decode(RolloutVerdict)) for row in rows]
    return [
        f"  {row.actor}: {verdict.verdict} at step {verdict.step + 1}"
        + (f": {row.why}" if row.why else "")
        for row, verdict in decoded
    ]
