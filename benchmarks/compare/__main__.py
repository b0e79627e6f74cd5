"""Measure all servers one after another, in several rounds, and print tables."""

import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import psutil
from rich.console import Console

from benchmarks.compare import extras, tables, wrk
from benchmarks.compare.contenders import CONTENDERS, Contender
from benchmarks.compare.measurement import Measurement, Rounds, measure, medians
from benchmarks.compare.models import Subject, subjects, wide

_SUBJECTS = ("small", "deep", "large", "image", "wide")  # "wide" is only for batching
_PARTS = ("servers", "workers", "batching")


@click.command()
@click.option("--quick", is_flag=True, help="One round of one second over 1 and 32 connections.")
@click.option("--rounds", default=2, show_default=True, help="Number of starts of each server.")
@click.option("--seconds", default=2, show_default=True, help="Per number of connections.")
@click.option("--subject", "names", type=click.Choice(_SUBJECTS), multiple=True, default=_SUBJECTS)
@click.option("--part", "parts", type=click.Choice(_PARTS), multiple=True, default=_PARTS)
@click.option("--peers/--no-peers", default=True, help="Also run BentoML, MLServer and LitServe.")
@click.option("--output", type=click.Path(dir_okay=False), help="Also write the tables to a file.")
def main(  # noqa: PLR0913 - one argument for each option
    *,
    quick: bool,
    rounds: int,
    seconds: int,
    names: Sequence[str],
    parts: Sequence[str],
    peers: bool,
    output: str | None,
) -> None:
    """Compare Driftline with bare handlers and with other servers, only on 127.0.0.1.

    Compare ratios only within one run, because the machine can be shared and noisy.
    """
    connections = (1, 32) if quick else (1, 8, 32, 128)
    rounds, seconds = (1, 1) if quick else (rounds, seconds)
    console = Console(width=140, record=True, highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="driftline-compare-") as name:
        folder = Path(name)
        plan = Rounds(rounds, seconds, connections, folder / "run")
        os.environ["DRIFTLINE_HOME"] = str(folder / "home")
        os.environ["BENTOML_HOME"] = str(folder / "bentoml")
        subjects_by_name = {subject.name: subject for subject in subjects(folder / "models", names)}
        console.print(_circumstances(plan))
        if "servers" in parts:
            selected = [contender for contender in CONTENDERS if peers or not contender.peer]
            for subject in subjects_by_name.values():
                _compare(console, selected, subject, plan)
        if "workers" in parts and "small" in subjects_by_name:
            extras.workers(console, subjects_by_name["small"], plan)
        if "batching" in parts and "deep" in subjects_by_name:
            extras.batching(console, subjects_by_name["deep"], plan)
        if "batching" in parts and "wide" in names:
            extras.batching(console, wide(folder / "models"), plan)
    if output:
        Path(output).write_text(console.export_text())


def _compare(
    console: Console, contenders: Sequence[Contender], subject: Subject, plan: Rounds
) -> None:
    runs: dict[tuple[str, int], list[Measurement]] = {}
    selected = [contender for contender in contenders if subject.name in contender.subjects]
    for turn in range(plan.rounds):
        for contender in selected:
            click.echo(f"{subject.name}, round {turn + 1}: {contender.name}", err=True)
            for number, measurement in measure(contender, subject, plan):
                runs.setdefault((contender.name, number), []).append(measurement)
    figures = {key: medians(measurements) for key, measurements in runs.items()}
    tables.compared(console, subject.title, selected, figures)


def _circumstances(plan: Rounds) -> str:
    busy = psutil.cpu_percent(interval=1.0)
    generator = "wrk" if wrk.PROGRAM else "Driftline's generator"
    return (
        f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
        f"{busy:.0f} % of the CPU used by other processes at the start; HTTP load by {generator}, "
        f"gRPC load by Driftline's generator; medians of {plan.rounds} rounds of {plan.seconds} s; "
        "* the generator had no idle time"
    )


if __name__ == "__main__":
    main()
