"""Access of commands to the registry, on this machine or with `--server URL`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import click

from driftline.changes import check_change
from driftline.local_actor import local_actor, unused_key_note
from driftline.number_types import INTEGER
from driftline.registry_change import ChangeResult, RegistryChange
from driftline.version_summaries import ModelPage, ModelQuery, read_page
from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.errors import UnknownModel
from registry.gates.outcomes import GateReport
from registry.gates.reports import open_reports
from registry.history.rows import HistoryRow
from registry.manifest import Version
from registry.settings import open_history
from registry.store import Registry
from registry.worker_reports import WorkerReport

if TYPE_CHECKING:
    from driftline.remote.client import RemoteRegistry

SERVER = click.option(
    "--server",
    envvar="DRIFTLINE_REGISTRY_SERVER",
    default="",
    help="URL of a registry server; DRIFTLINE_API_KEY is the key.  [default: this machine]",
)

EXPECTED_REVISION = click.option(
    "--expected-revision",
    type=INTEGER,
    help="Refuse the change if the model has changed after this revision.",
)


class RegistryAccess(Protocol):
    """The operations that commands need of a registry, local or remote."""

    def change(self, model: str, change: RegistryChange) -> ChangeResult:
        """Apply a change; raises a DriftlineError with the reason if it is refused."""
        ...

    def history(self, model: str) -> Sequence[HistoryRow]:
        """Return every history row of a model; raises UnknownModel if there is no row."""
        ...

    def read(self) -> list[WorkerReport]:
        """Return the reports of all running workers."""
        ...

    def report(self, digest: str) -> tuple[GateReport, str]:
        """Return a gate report, and the path or URL of its page."""
        ...

    def models(self, query: ModelQuery) -> ModelPage:
        """Return one page of models with all their versions."""
        ...

    def versions(self, model: str) -> Sequence[Version]:
        """Return the readable versions of a model, oldest first; raises UnknownModel.

        A version's path is "" if its files are on another machine.
        """
        ...

    def rows(self) -> Iterator[HistoryRow]:
        """Yield every row of the history."""
        ...

    def schedules(self) -> Iterable[HistoryRow]:
        """Return the history rows that set retraining schedules."""
        ...


class LocalRegistry:
    """The registry on this machine."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def change(self, model: str, change: RegistryChange) -> ChangeResult:
        """Apply a change as the local user, or as the key's owner if a key is required."""
        check_change(model, change)
        actor = local_actor(change.scope, model)
        if note := unused_key_note(actor.name):
            click.echo(f"driftline: {note}", err=True)
        return change.apply(self._home, model, actor)

    def history(self, model: str) -> Sequence[HistoryRow]:
        """Return every history row of a model."""
        return rows_of(self._home, model)

    def read(self) -> list[WorkerReport]:
        """Return the reports of all running workers."""
        return AllWorkers(self._home).read()

    def report(self, digest: str) -> tuple[GateReport, str]:
        """Return a gate report, and the path of its page."""
        reports = open_reports(self._home)
        return reports.read(digest), str(reports.page(digest))

    def models(self, query: ModelQuery) -> ModelPage:
        """Return one page of models with all their versions."""
        return read_page(self._home, query)

    def versions(self, model: str) -> Sequence[Version]:
        """Return the readable versions of a model."""
        return Registry(self._home, wait=True).versions(model)

    def rows(self) -> Iterator[HistoryRow]:
        """Yield every row of the history."""
        return open_history(self._home).all_rows()

    def schedules(self) -> Iterable[HistoryRow]:
        """Return the history rows that set retraining schedules."""
        return open_history(self._home).schedules()


def rows_of(home: Home, model: str) -> list[HistoryRow]:
    """Return every history row of a model; raises UnknownModel if there is no row."""
    rows = open_history(home).rows(model)
    if not rows:
        raise UnknownModel(f"no model {model!r}: the registry's history has no row of this model")
    return rows


def open_access(server: str) -> RegistryAccess:
    """Return the registry at a URL, or this machine's registry for ""."""
    if not server:
        return LocalRegistry(Home.from_environment())
    return open_remote(server)


def open_remote(server: str) -> "RemoteRegistry":
    """Return the registry at a URL."""
    from driftline.remote.client import RemoteRegistry  # noqa: PLC0415 - imports an HTTP client

    return RemoteRegistry.from_environment(server)
