"""`driftline rollout backtest`: judge a past rollout again from the log."""

from datetime import UTC, datetime

import click
from msgspec.structs import replace

from driftline.logged_events import log_place, logged_events, received_since
from driftline.registry_access import rows_of
from eventlog.errors import SettingError
from eventlog.settings import Home
from monitoring.presenter.verdicts import verdict_sentence
from monitoring.rollouts.backtest import StepResult, backtest_steps, steps_of
from registry.history.lifecycle import LifecycleState, reduce_rows
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict, VerdictMetric, VerdictPolicy
from registry.outputs import label_output
from registry.store import Registry


def print_backtest(  # noqa: PLR0913  # one argument per option of the command
    model: str,
    *,
    alias: str,
    number: str,
    metrics: list[VerdictMetric],
    tolerate: float | None,
    patience: float | None,
) -> None:
    """Print the recorded and the recomputed verdict of each step of a rollout.

    If `number` is "", the latest rollout is judged. Arguments that are None or [] default to the
    rollout's policy.
    """
    home = Home.from_environment()
    rows = rows_of(home, model)
    state = reduce_rows(rows)
    rollout = _rollout(state, model, alias, number)
    policy = rollout.policy or VerdictPolicy()
    policy = replace(
        policy,
        metrics=metrics or policy.metrics,
        tolerate=policy.tolerate if tolerate is None else tolerate,
        patience=policy.patience if patience is None else patience,
    )
    version = Registry(home).version(model, rollout.number)
    place = log_place(home)
    steps = steps_of(rows, rollout.id)
    events = logged_events(place, received_since(place, steps[0].since))
    label = label_output(version.manifest.prediction)
    click.echo(f"{model} {alias}: rollout {rollout.id} of version {rollout.number}")
    for result in backtest_steps(steps, policy, label, events):
        click.echo(f"step {result.rollout.step + 1} ({result.rollout.share:.4g} of the keys)")
        click.echo(f"  recorded: {_recorded(state, result.rollout)}")
        click.echo(f"  from the log: {_sentence(result)}")


def _rollout(state: LifecycleState, model: str, alias: str, number: str) -> Rollout:
    latest = state.rollouts.get(alias)
    if number and (latest is None or latest.number != number):
        latest = state.earlier_rollouts.get((alias, number))
    if latest is None:
        version = f" of version {number}" if number else ""
        raise SettingError(f"{alias} of {model} has had no rollout{version}")
    return latest


def _recorded(state: LifecycleState, rollout: Rollout) -> str:
    sentences = [
        f"{verdict.verdict}: {row.why}"
        for row in state.verdicts
        if row.evidence == rollout.id
        and row.revision > rollout.revision
        and (verdict := row.decode(RolloutVerdict)).step == rollout.step
    ]
    return "; ".join(sentences) or "no verdict"


def _sentence(result: StepResult) -> str:
    judgement, time = result.judgement, datetime.fromtimestamp(result.time / 1e6, UTC)
    after = f"after {result.requests:,} requests, {time:%Y-%m-%d %H:%M:%S} UTC"
    if judgement.verdict == "continue":
        return f"no verdict {after}"
    counts = {str(metric): row for metric, row in judgement.counts.items()}
    verdict = RolloutVerdict(judgement.verdict, result.rollout.step, str(judgement.metric), counts)
    return f"{judgement.verdict} {after}: {verdict_sentence(verdict)}"
