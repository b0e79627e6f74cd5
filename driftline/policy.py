"""`driftline policy`: show or change the monitoring policy without a new registration."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from driftline.local_actor import local_actor
from driftline.status import plain, table_of
from eventlog.settings import Home
from monitoring.windows.policy_periods import timeline
from registry.manifest import Version
from registry.manifest_file import read_stated
from registry.policies import Held, PolicyChange, differences, digest, flat, origins
from registry.store import Registry

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [policy]


@click.command()
@click.argument("model")
@click.argument("version", default="")
@click.option("--file", type=_FILE, help="YAML: the fields of `monitoring` to change.")
@click.option("--reset", is_flag=True, help="Revoke all changes.")
@click.option("--why", default="", help="Reason, recorded with the change.")
def policy(*, model: str, version: str, file: Path | None, reset: bool, why: str) -> None:
    """Show or change the monitoring policy of MODEL, or of one VERSION (number or alias).

    Without VERSION, a change applies to every version, future ones too. Only the fields in the file
    change. The change applies to windows that begin at least one minute later.
    """
    registry = Registry(Home.from_environment(), wait=True)
    number = registry.aliases(model).get(version, version)
    if file is None and not reset:
        _show(registry, model, number)
        return
    if file is not None and reset:
        raise click.UsageError("--reset revokes all changes: expected no --file with it")
    if not why.strip():
        raise click.UsageError("expected --why: the reason is recorded with the change")
    change = PolicyChange(None if file is None else read_stated(file), why.strip())
    before = {v.number: registry.policies(v)[-1] for v in _versions(registry, model, number)}
    revision = registry.change_policy(
        model, number, change, actor=local_actor("operate", model).name
    )
    what = f"{model} version {number}" if number else f"every version of {model}"
    click.echo(f"{what}: policy changed (registry revision {revision})")
    for one in _versions(registry, model, number):
        if one.number in before:
            held = registry.policies(one)
            changes = _changes(before[one.number], held[-1])
            click.echo(f"version {one.number}: {changes}; {_start(held)}")


def _versions(registry: Registry, model: str, number: str) -> Sequence[Version]:
    return [registry.version(model, number)] if number else registry.versions(model)


def _show(registry: Registry, model: str, number: str) -> None:
    console = Console()
    for version in _versions(registry, model, number):
        held = registry.policies(version)
        named = f"{model} version {version.number}, policy {digest(held[-1].policy)}"
        console.print(plain(f"{named}: {_start(held)}", "bold"))
        console.print(_fields(held))
        for before, after in pairwise(held):
            console.print(plain(_line(before, after)))


def _start(held: Sequence[Held]) -> str:
    """Return from when on the last policy applies."""
    start = timeline(held).periods[-1].start
    if not start:
        return "applies to all windows"
    at = datetime.fromtimestamp(start / 1e6, UTC)
    return f"applies to windows from {at:%Y-%m-%d %H:%M:%S} UTC"


def _fields(held: Sequence[Held]) -> Table:
    """List every field of the last policy and the change that set it."""
    table, sources = table_of("field", "value", "from"), origins(held)
    for field, value in flat(held[-1].policy).items():
        table.add_row(field, plain(_format(value)), _source(sources[field]))
    return table


def _format(value: Any) -> str:
    return "none" if value is None else str(value)


def _source(held: Held) -> str:
    return "manifest" if held.row is None else f"revision {held.row.revision}"


def _line(before: Held, after: Held) -> str:
    row = after.row
    assert row is not None
    at = datetime.fromtimestamp(row.time / 1e6, UTC)
    return (
        f"revision {row.revision}, {at:%Y-%m-%d %H:%M:%S} UTC, {row.actor or 'unknown'}, "
        f"version {row.number or '(all)'}: {_changes(before, after)}; reason: {after.change.why}"
    )


def _changes(before: Held, after: Held) -> str:
    changes = differences(before.policy, after.policy)
    parts = [f"{name} {_format(old)} -> {_format(new)}" for name, (old, new) in changes.items()]
    text = ", ".join(parts) or "no difference"
    return f"policy of the manifest ({text})" if after.change.stated is None else text
