"""`driftline registry copy` moves a registry; `registry serve` serves it to other machines."""

from pathlib import Path

import click

from driftline.number_types import INTEGER
from driftline.setting_names import require_known
from eventlog.settings import Home
from registry.artifacts import open_artifacts
from registry.gates.reports import GateReports, open_reports
from registry.history.store import History
from registry.store import Registry


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [registry]


@click.group()
def registry() -> None:
    """Copy the registry, or serve it to other machines."""


@registry.command()
@click.option(
    "--to", "address", required=True, help="Target: postgresql://HOST/DATABASE, or a file."
)
@click.option(
    "--artifacts", default="", help="URL for the versions' files, as in DRIFTLINE_ARTIFACTS."
)
def copy(address: str, artifacts: str) -> None:
    """Copy the history and, with --artifacts, the files of all versions; verify the copies.

    The target must be empty or contain a part of the same history. A second run copies new rows and
    files.
    """
    target = History(address if "://" in address else Path(address).absolute())
    source = Registry(Home.from_environment())
    revision, versions = source.copy_to(target, open_artifacts(artifacts))
    click.echo(f"history copied and verified up to revision {revision}")
    if artifacts:
        _copy_reports(Home.from_environment(), artifacts)
        click.echo(f"files of {versions} versions stored and verified in {artifacts}")


@registry.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=INTEGER, help="Port.  [default: 3200]")
def serve(**options: str | int | None) -> None:
    """Serve this machine's registry to commands with --server, until Ctrl-C.

    Every caller needs a key. The other settings are environment variables
    DRIFTLINE_REGISTRY_SERVER_<NAME>.
    """
    from driftline.remote.serve import serve_registry  # noqa: PLC0415 - not needed for --help

    require_known()
    serve_registry({name: value for name, value in options.items() if value is not None})


def _copy_reports(home: Home, artifacts: str) -> None:
    """Store this machine's gate reports; raises ChangedFile for a modified report."""
    store = open_artifacts(artifacts)
    assert store is not None
    local, shared = open_reports(home), GateReports(home.gate_reports, store)
    for path in sorted(home.gate_reports.glob("*.json")):
        local.read(path.stem)
        shared.share(path.stem)
