"""`driftline registry copy`: move a registry to another database and another store of files."""

from pathlib import Path

import click

from eventlog.settings import Home
from registry.artifacts import open_artifacts
from registry.history.store import History
from registry.store import Registry


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [registry]


@click.group()
def registry() -> None:
    """Copy the registry."""


@registry.command()
@click.option("--to", "address", required=True, help="postgresql://HOST/DATABASE, or a file.")
@click.option("--artifacts", default="", help="URL for the files, as in DRIFTLINE_ARTIFACTS.")
def copy(address: str, artifacts: str) -> None:
    """Copy the history and, with --artifacts, the files of all versions here; verify both.

    The target is empty or has a part of the same history. A second run copies what is new.
    """
    target = History(address if "://" in address else Path(address).absolute())
    source = Registry(Home.from_environment())
    revision, versions = source.copy_to(target, open_artifacts(artifacts))
    click.echo(f"history copied and verified up to revision {revision}")
    if artifacts:
        click.echo(f"files of {versions} versions stored and verified in {artifacts}")
