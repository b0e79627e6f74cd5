"""Waits until every worker has followed the registry, and says what they serve."""

import time
from collections.abc import Callable, Sequence

import click

from eventlog.errors import DriftlineError
from eventlog.settings import Home
from registry.worker_reports import WorkerReport, read_workers

_PAUSE = 0.05  # seconds between two looks


class NotConverged(DriftlineError):
    """Some worker does not serve what it was told to."""


def wait_for_workers(
    home: Home,
    revision: int,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[WorkerReport]:
    """The reports of all workers, once each has followed up to the revision.

    Raises NotConverged after `timeout` seconds, saying how many have not.
    """
    deadline = clock() + timeout
    while True:
        reports = read_workers(home.workers)
        behind = sum(report.revision < revision for report in reports)
        if not behind:
            return reports
        if clock() >= deadline:
            raise NotConverged(
                f"after {timeout:g} s {behind} of {len(reports)} workers had not followed to "
                f"registry revision {revision}; they go on trying"
            )
        sleep(_PAUSE)


def print_serving_workers(
    reports: Sequence[WorkerReport], model: str, alias: str, number: str
) -> None:
    """Print how many workers answer the alias with the version.

    Raises NotConverged with the reason where one does not.
    """
    if not reports:
        click.echo("no worker is running here; the next one to start will serve it")
        return
    served = sum(report.serving.get(model, {}).get(alias) == number for report in reports)
    sentence = f"{served} of {len(reports)} workers serve version {number}"
    if served < len(reports):
        reasons = {report.unready.get(model, {}).get(number, "") for report in reports} - {""}
        raise NotConverged(f"{sentence}: {'; '.join(sorted(reasons)) or 'it was unloaded'}")
    click.echo(sentence)


def print_loaded_workers(reports: Sequence[WorkerReport], model: str, number: str) -> None:
    """Print how many workers have loaded the version, or with "" all versions of the model.

    Raises NotConverged with the reason where one has not.
    """
    reasons = {
        reason
        for report in reports
        for name, reason in report.unready.get(model, {}).items()
        if number in {"", name}
    }
    if reasons:
        raise NotConverged(f"not every worker has loaded it: {'; '.join(sorted(reasons))}")
    click.echo(f"{len(reports)} of {len(reports)} workers have loaded it")
