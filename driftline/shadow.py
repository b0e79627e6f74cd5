"""`driftline shadow`: run a version on logged requests of the champion, without answering them."""

import click

from driftline.local_actor import local_actor
from driftline.number_types import FINITE, SECONDS
from eventlog.settings import Home
from monitoring.presenter.shadow_sentences import shadow_lines, shadow_sentence
from registry.conflicts import retry_conflicts
from registry.settings import open_history
from registry.shadow_report import read_report
from registry.shadows import Shadows, active_shadow, require_shadowable
from registry.store import Registry


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [shadow]


@click.group()
def shadow() -> None:
    """Run a version on logged requests of the champion, without answering them.

    `driftline up` runs shadows. Without it, run `driftline shadow run`.
    """


_WHY = click.option("--why", default="", help="Reason, recorded with the change.")


@shadow.command()
@click.argument("model")
@click.option("--version", "number", required=True, help="Number of the version.")
@click.option(
    "--share", default=1.0, type=FINITE, show_default=True, help="Share of the requests, 0 to 1."
)
@click.option(
    "--alias", default="champion", show_default=True, help="Alias whose requests are used."
)
@_WHY
def start(*, model: str, number: str, share: float, alias: str, why: str) -> None:
    """Start to run a version of MODEL on a share of an alias's requests."""
    home = Home.from_environment()
    history, registry = open_history(home, wait=True), Registry(home)
    version, actor = registry.version(model, number), local_actor("promote", model).name

    def begin() -> int:
        state = history.state(model)
        if (before := state.aliases.get(alias)) is not None:
            require_shadowable(model, registry.version(model, before).manifest, version.manifest)
        return Shadows(history).start(
            model, number, alias, share, actor=actor, why=why, expected_revision=state.revision
        )

    retry_conflicts(begin)
    now = active_shadow(history.state(model), model, number)
    click.echo(f"{model} {shadow_sentence(now)}")


@shadow.command()
@click.argument("model")
@click.option("--version", "number", default="", help="Number of the version.  [default: all]")
@_WHY
def stop(*, model: str, number: str, why: str) -> None:
    """Stop a shadow of MODEL, or all shadows of MODEL."""
    history = open_history(Home.from_environment(), wait=True)
    actor = local_actor("promote", model).name
    numbers = [number] if number else list(history.state(model).shadows)
    for shadow_number in numbers:
        Shadows(history).stop(model, shadow_number, actor=actor, why=why)
        click.echo(f"{model} version {shadow_number} is no longer a shadow")
    if not numbers:
        click.echo(f"{model} has no shadow")


@shadow.command()
@click.argument("model")
def status(model: str) -> None:
    """Show the shadows of MODEL with their counts and lag."""
    home = Home.from_environment()
    shadows, report = open_history(home).state(model).shadows, read_report(home)
    if not shadows:
        click.echo(f"{model} has no shadow")
    for shadow in shadows.values():
        click.echo(f"{model} {shadow_sentence(shadow)}")
        for line in shadow_lines(shadow, report):
            click.echo(f"  {line}")


@shadow.command("run")
@click.option(
    "--most-lag",
    default=60.0,
    type=SECONDS,
    show_default=True,
    help="Age, in seconds, from which requests are skipped.",
)
def run(most_lag: float) -> None:
    """Run the shadows of all models until Ctrl-C; run one process per home."""
    from driftline.shadows.process import run_shadows  # noqa: PLC0415 - imports ONNX Runtime

    run_shadows(most_lag)
