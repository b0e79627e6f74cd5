"""Wait until every worker has applied the registry, and print what the workers serve."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import click

from eventlog.errors import DriftlineError
from registry.worker_reports import WorkerReport

_PAUSE = 0.1  # seconds between two reads


class NotConverged(DriftlineError):
    """A worker does not serve the desired state."""


class WorkerSource(Protocol):
    """The port to the reports of running workers."""

    def read(self) -> list[WorkerReport]: ...


def wait_for_workers(
    workers: WorkerSource,
    revision: int,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[WorkerReport]:
    """Return the reports of all workers once each has applied the revision.

    Raises NotConverged with the number of workers behind after `timeout` seconds.
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
                f"{revision} within {timeout:g} s{_machines(behind)}; they continue to try"
            )
        sleep(_PAUSE)


def _machines(behind: Sequence[WorkerReport]) -> str:
    names = sorted({report.machine for report in behind} - {""})
    return f", on {', '.join(names)}" if names else ""


def print_serving_workers(
    reports: Sequence[WorkerReport], model: str, alias: str, number: str
) -> None:
    """Print how many workers serve the version under the alias.

    Raises NotConverged with the reason if one does not.
    """
    reports = [report for report in reports if report.selects(model)]
    if not reports:
        click.echo("no worker is running; the next one to start serves it")
        return
    served = sum(report.serving.get(model, {}).get(alias) == number for report in reports)
    sentence = f"{served} of {len(reports)} workers serve version {number}"
    if served < len(reports):
        reasons = {report.unready.get(model, {}).get(number, "") for report in reports} - {""}
        raise NotConverged(f"{sentence}: {'; '.join(sorted(reasons)) or 'it was unloaded'}")
    click.echo(sentence)


def print_loaded_workers(reports: Sequence[WorkerReport], model: str, number: str) -> None:
    """Print how many workers have loaded the version, or with "" all versions of the model.

    Raises NotConverged with the reason if one has not.
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
