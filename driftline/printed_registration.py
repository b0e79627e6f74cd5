"""Register a version for a command, run its gates if required, and print the results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from driftline.answered_request import require_request
from driftline.first_promotion import promote_first
from driftline.gates.registration import gate_registered
from driftline.local_actor import Actor
from eventlog.errors import AlreadyRunning
from eventlog.process_lock import require_unlocked
from eventlog.settings import Home
from registry.inference_record import read_inference
from registry.manifest import Version
from registry.store import Registry


def register_and_print(  # noqa: PLR0913  # one argument per option of the command
    home: Home,
    model: str,
    onnx: Path,
    *,
    manifest: Mapping[str, Any],
    reference: Path | None,
    target: str,
    actor: Actor,
    promote: bool,
    answers: str = "",
) -> Version:
    """Register files as the next version of a model and print the results.

    Raises a RegistryError.
    """
    require_request(home, model, answers)
    registry = Registry(home, wait=True)
    version = registry.register(
        onnx,
        model=model,
        manifest=manifest,
        reference=reference,
        target=target,
        actor=actor.name,
        answers=answers,
    )
    click.echo(f"{model} version {version.number}, sha256 {version.digest}")
    _print(version)
    for doubt in read_inference(Path(version.path)).doubts:
        click.secho(f"warning: {doubt}", fg="yellow", err=True)
    gate_registered(home, version, actor.name)
    if promote and actor.may_promote and promote_first(registry, version, actor.name):
        click.echo(f"{model} champion is version {version.number}: {_next_step(home)}")
    elif not registry.aliases(model):
        click.echo(f"to serve it: driftline promote {model} --version {version.number}")
    return version


def _next_step(home: Home) -> str:
    """Return how to serve the champion; a running service of this home loads it automatically."""
    try:
        require_unlocked(home.lock("service"), "service")
    except AlreadyRunning:
        return "the running service loads it"
    return "to serve it, run driftline up"


def _print(version: Version) -> None:
    from driftline.registration import describe  # noqa: PLC0415

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in describe(version):
        table.add_row(heading, text)
    Console(highlight=False).print(table, markup=False)
