"""Where a command finds the registry: on this machine, or behind `--server URL`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import click

from driftline.changes import ChangeResult, RegistryChange, check_change
from driftline.local_actor import local_actor
from driftline.version_summaries import VersionSummary, summaries_of
from eventlog.settings import Home
from registry.errors import UnknownModel
from registry.gates.outcomes import GateReport
from registry.gates.reports import open_reports
from registry.history.rows import HistoryRow
from registry.settings import open_history
from registry.shared_workers import AllWorkers
from registry.worker_reports import WorkerReport

if TYPE_CHECKING:
    from driftline.remote.client import RemoteRegistry

SERVER = click.option(
    "--server",
    envvar="DRIFTLINE_REGISTRY_SERVER",
    default="",
    help="URL of a registry server, with the key of DRIFTLINE_API_KEY.  [default: this machine]",
)


class RegistryAccess(Protocol):
    """What commands do with a registry, wherever it is."""

    def change(self, model: str, change: RegistryChange) -> ChangeResult:
        """Make a change; raises a DriftlineError that says why it cannot be made."""
        ...

    def history(self, model: str) -> Sequence[HistoryRow]:
        """Return every row of a model; raises UnknownModel without any."""
        ...

    def read(self) -> list[WorkerReport]:
        """Return the reports of all running workers."""
        ...

    def report(self, digest: str) -> tuple[GateReport, str]:
        """Return a gate report, and where its page is."""
        ...

    def models(self) -> list[VersionSummary]:
        """Return every version of every model."""
        ...


class LocalRegistry:
    """The registry of this machine."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def change(self, model: str, change: RegistryChange) -> ChangeResult:
        """Make a change as the user, or with the key where one is required."""
        check_change(model, change)
        return change.apply(self._home, model, local_actor(change.scope, model))

    def history(self, model: str) -> Sequence[HistoryRow]:
        """Return every row of a model."""
        return rows_of(self._home, model)

    def read(self) -> list[WorkerReport]:
        """Return the reports of all running workers."""
        return AllWorkers(self._home).read()

    def report(self, digest: str) -> tuple[GateReport, str]:
        """Return a gate report, and where its page is."""
        reports = open_reports(self._home)
        return reports.read(digest), str(reports.page(digest))

    def models(self) -> list[VersionSummary]:
        """Return every version of every model."""
        return summaries_of(self._home)


def rows_of(home: Home, model: str) -> list[HistoryRow]:
    """Return every row of a model; raises UnknownModel without any."""
    rows = open_history(home).rows(model)
    if not rows:
        raise UnknownModel(f"no model {model!r}: the registry's history has no row of it")
    return rows


def open_access(server: str) -> RegistryAccess:
    """Return the registry behind a URL, or with "" that of this machine."""
    if not server:
        return LocalRegistry(Home.from_environment())
    return open_remote(server)


def open_remote(server: str) -> "RemoteRegistry":
    """Return the registry behind a URL."""
    from driftline.remote.client import RemoteRegistry  # noqa: PLC0415 - an HTTP client

    return RemoteRegistry.from_environment(server)
