"""Run the gates of a version for a command, and print each outcome."""

import click

from driftline.gates.figure_text import print_outcome
from driftline.gates.run import Progress, RecordedRun, gate_version
from eventlog.settings import Home
from registry.gates.reports import open_reports
from registry.gates.specification import Gate, kind_of


def run_and_print(  # noqa: PLR0913  # the fields of a history row are separate arguments
    home: Home, model: str, number: str, why: str, actor: str, *, here: bool = True
) -> RecordedRun:
    """Run the gates of a version and print each outcome when its gate ends.

    `here` is False if the user is on another machine, where the report's file does not exist.
    """
    progress = Progress(_print_start, _print_progress, print_outcome)
    run = gate_version(home, model, number, actor=actor, why=why, progress=progress)
    click.echo(
        f"{model} version {number}: {run.report.verdict} (revision {run.revision}, report "
        f"{run.digest[:12]})"
    )
    if here:
        click.echo(f"report: {open_reports(home).page(run.digest)}")
    if run.stale:
        click.echo(f"the model changed during the run: {run.stale}")
    return run


def _print_start(name: str, gate: Gate) -> None:
    click.echo(f"{name} ({kind_of(gate)}) ...", err=True)


def _print_progress(name: str, text: str) -> None:
    click.echo(f"{name}: {text}", err=True)
