"""`driftline trace`: show a prediction's version, release, label and window."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import click
import msgspec

from eventlog.errors import DriftlineError
from eventlog.log_search import LogSearch, find_prediction
from eventlog.settings import Home
from monitoring.prediction_trace import PredictionTrace
from monitoring.presenter.trace_text import trace_sections
from monitoring.settings import database_address
from monitoring.storage.database import exists
from monitoring.storage.store import Store
from monitoring.trace_reader import TraceReader, TraceSources
from registry.gates.reports import open_reports
from registry.settings import is_shared, open_history
from registry.store import Registry, store_folder

_LONGEST_ID = 512  # characters


class UnknownPrediction(DriftlineError):
    """The prediction is neither in the log nor in the monitor's database."""


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [trace]


@click.command()
@click.argument("prediction_id")
@click.option("--log/--no-log", default=True, help="Search the log of this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def trace(*, prediction_id: str, log: bool, as_json: bool) -> None:
    """Show the origin of a prediction and its consequences.

    Prints the version with its digest, alias or rollout; the people who registered, approved and
    promoted it; gates, lineage, labels, window and alarms. Reads this machine's log, the registry
    and the monitor's database. For each missing part, it prints the searched places. Exits 1 if the
    prediction is not found.
    """
    if not 0 < len(prediction_id) <= _LONGEST_ID or "\0" in prediction_id:
        raise click.BadParameter(
            f"expected 1 to {_LONGEST_ID} characters", param_hint="PREDICTION_ID"
        )
    prediction_trace = read_trace(Home.from_environment(), prediction_id, log=log, show=_progress)
    if as_json:
        click.echo(msgspec.json.encode(prediction_trace))
    elif prediction_trace.found:
        _print(prediction_trace)
    if not prediction_trace.found:
        places = "; ".join(
            dict.fromkeys(prediction_trace.not_found[part] for part in ("event", "monitored rows"))
        )
        raise UnknownPrediction(f"no prediction {prediction_id!r} found; searched {places}")


@contextmanager
def _silent() -> Iterator[Callable[[int, int], None]]:
    yield lambda _read, _size: None


def read_trace(
    home: Home,
    prediction_id: str,
    *,
    log: bool = True,
    show: Callable[[], AbstractContextManager[Callable[[int, int], None]]] = _silent,
) -> PredictionTrace:
    """Collect everything that this machine's log, registry and monitor database have about it.

    `show` is a context manager that displays the progress of the search in the log. Raises
    DatabaseUnavailable and RegistryUnavailable.
    """
    address = database_address(home)
    store = Store(address) if exists(address) else None
    at = str(address) if exists(address) else f"{address}, which does not exist"
    monitor = (
        "the monitor's database" if isinstance(address, str) else f"the monitor's database {at}"
    )
    shared = "the shared database" if is_shared() else str(home.registry)
    reader = TraceReader(
        TraceSources(
            _search(home, show) if log else None,
            store,
            open_history(home),
            Registry(home),
            open_reports(home),
        ),
        {
            "event": f"the log {home.log}" if log else "the log was not searched (--no-log)",
            "registry": f"the registry's history in {shared}",
            "lineage": f"the versions below {store_folder(home)}",
            "gate report": f"the folder {home.gate_reports}",
            "monitored rows": monitor,
            "window": monitor,
        },
    )
    try:
        return reader.read(prediction_id)
    finally:
        if store is not None:
            store.close()


def _search(
    home: Home, show: Callable[[], AbstractContextManager[Callable[[int, int], None]]]
) -> Callable[[str], LogSearch]:
    def search(prediction_id: str) -> LogSearch:
        with show() as progress:
            return find_prediction(home.log, prediction_id, progress)

    return search


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Display the progress of the search if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _read, _size: None
        return

    def show(read: int, size: int) -> None:
        click.echo(f"\rsearched {read / 1e9:,.1f} of {size / 1e9:,.1f} GB", nl=False, err=True)

    try:
        yield show
    finally:
        click.echo("\r\x1b[K", nl=False, err=True)


def _print(prediction_trace: PredictionTrace) -> None:
    click.echo(f"Prediction {prediction_trace.prediction_id}")
    for section in trace_sections(prediction_trace):
        click.echo(f"\n{section.heading}")
        width = max(len(line.name) for line in section.lines)
        for line in section.lines:
            click.echo(f"  {line.name:<{width}}  {line.value}")
    if prediction_trace.repeated:
        click.echo(
            f"\nThe id was used by other events too: {', '.join(prediction_trace.repeated[:10])}"
        )
