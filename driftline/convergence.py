"""Wait until every worker has applied a registry revision, and print what the workers serve."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import click

from eventlog.errors import DriftlineError
from registry.worker_reports import WorkerReport

_PAUSE = 0.1  # seconds between two reads of the reports


class NotConverged(DriftlineError):
    """A worker does not serve the desired state."""


class WorkerSource(Protocol):
    """A source of the reports of running workers."""

    def read(self) -> list[WorkerReport]: ...


def wait_for_workers(
    workers: WorkerSource,
    revision: int,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[WorkerReport]:
    """Wait until every worker has applied the revision; return the workers' reports.

    Raises NotConverged with the number of late workers after `timeout` seconds.
    """
    deadline = clock() + timeout
    while True:
        reports = workers.read()
        behind = [report for report in reports if report.revision < revision]
        if not behind:
            return reports
        if clock() >= deadline:
            raise NotConverged(
                f"{len(behind)} of {len(reports)} workers have not applied registry revision "
                f"{revision} within {timeout:g} s{_machines(behind)}; they keep trying"
            )
        sleep(_PAUSE)


def _machines(behind: Sequence[WorkerReport]) -> str:
    names = sorted({report.machine for report in behind} - {""})
    return f", on {', '.join(names)}" if names else ""


def print_serving_workers(
    reports: Sequence[WorkerReport], model: str, alias: str, number: str
) -> None:
    """Print how many workers serve the version under the alias.

    Raises NotConverged with the reasons if some workers do not serve it.
    """
    reports = [report for report in reports if report.selects(model)]
    if not reports:
        click.echo("no worker is running; the next worker that starts serves it")
        return
    served = sum(report.serving.get(model, {}).get(alias) == number for report in reports)
    sentence = f"{served} of {len(reports)} workers serve version {number}"
    if served < len(reports):
        reasons = {report.unready.get(model, {}).get(number, "") for report in reports} - {""}
        raise NotConverged(
            f"{sentence}: {'; '.join(sorted(reasons)) or 'the version was unloaded'}"
        )
    click.echo(sentence)


def print_loaded_workers(reports: Sequence[WorkerReport], model: str, number: str) -> None:
    """Print how many workers have loaded the version, or all versions of the model if it is "".

    Raises NotConverged with the reasons if some workers have not.
    """
    reasons = {
        reason
        for report in reports
        for name, reason in report.unready.get(model, {}).items()
        if number in {"", name}
    }
    if reasons:
        raise NotConverged(f"not loaded by every worker: {'; '.join(sorted(reasons))}")
    click.echo(f"{len(reports)} of {len(reports)} workers have loaded it")
