"""`driftline policy`: show or change monitoring policies without a new registration."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from driftline.operator_changes import SetMonitoringPolicy
from driftline.registry_access import SERVER, RegistryAccess, open_access
from driftline.status import plain, table_of
from monitoring.windows.policy_periods import timeline
from registry.errors import UnknownVersion
from registry.history.lifecycle import reduce_rows
from registry.manifest import Version
from registry.manifest_file import read_stated
from registry.policies import DatedPolicy, differences, digest, flat, origins, policies_of

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [policy]


@click.command()
@click.argument("model")
@click.argument("version", default="")
@click.option("--file", type=_FILE, help="YAML file of the fields of `monitoring` to change.")
@click.option("--reset", is_flag=True, help="Revoke all changes.")
@click.option("--why", default="", help="Reason, recorded with the change.")
@SERVER
def policy(  # noqa: PLR0913  # one argument per option
    *, model: str, version: str, file: Path | None, reset: bool, why: str, server: str
) -> None:
    """Show or change the monitoring policy of MODEL, or of one VERSION (number or alias).

    Without VERSION, a change applies to all present and future versions. Only the fields in the
    file change. The change applies to windows that begin at least one minute later.
    """
    access = open_access(server)
    if file is None and not reset:
        _show(access, model, version)
        return
    if file is not None and reset:
        raise click.UsageError("--reset revokes all changes: expected no --file together with it")
    if not why.strip():
        raise click.UsageError("expected --why: the reason is recorded with the change")
    changed_fields = None if file is None else read_stated(file)
    before = {
        released.number: policies[-1] for released, policies in _policies(access, model, version)
    }
    done = access.change(
        model, SetMonitoringPolicy(number=version, policy=changed_fields, why=why.strip())
    )
    subject = f"{model} version {done.number}" if done.number else f"every version of {model}"
    click.echo(f"{subject}: policy changed (registry revision {done.revision})")
    for released, policies in _policies(access, model, version):
        if released.number in before:
            changes = _changes(before[released.number], policies[-1])
            click.echo(f"version {released.number}: {changes}; {_start(policies)}")


def _policies(
    access: RegistryAccess, model: str, number_or_alias: str
) -> Iterator[tuple[Version, list[DatedPolicy]]]:
    """Yield the stated version, or every version, with its policies."""
    versions, rows = access.versions(model), access.history(model)
    number = reduce_rows(rows).aliases.get(number_or_alias, number_or_alias)
    if number and number not in {version.number for version in versions}:
        numbers = ", ".join(version.number for version in versions)
        raise UnknownVersion(f"model {model!r} has no version {number!r}; versions: {numbers}")
    for version in versions:
        if number in {"", version.number}:
            yield version, policies_of(version, rows)


def _show(access: RegistryAccess, model: str, number_or_alias: str) -> None:
    console = Console()
    for version, policies in _policies(access, model, number_or_alias):
        title = f"{model} version {version.number}, policy {digest(policies[-1].policy)}"
        console.print(plain(f"{title}: {_start(policies)}", "bold"))
        console.print(_fields(policies))
        for before, after in pairwise(policies):
            console.print(plain(_line(before, after)))


def _start(policies: Sequence[DatedPolicy]) -> str:
    """Return the start of the latest policy as text."""
    start = timeline(policies).periods[-1].start
    if not start:
        return "applies to all windows"
    at = datetime.fromtimestamp(start / 1e6, UTC)
    return f"applies to windows from {at:%Y-%m-%d %H:%M:%S} UTC"


def _fields(policies: Sequence[DatedPolicy]) -> Table:
    """Return a table of the latest policy's fields, each with the change that set it."""
    table, sources = table_of("field", "value", "from"), origins(policies)
    for field, value in flat(policies[-1].policy).items():
        table.add_row(field, plain(_format(value)), _source(sources[field]))
    return table


def _format(value: Any) -> str:
    return "none" if value is None else str(value)


def _source(origin: DatedPolicy) -> str:
    return "manifest" if origin.row is None else f"revision {origin.row.revision}"


def _line(before: DatedPolicy, after: DatedPolicy) -> str:
    row = after.row
    assert row is not None
    at = datetime.fromtimestamp(row.time / 1e6, UTC)
    return (
        f"revision {row.revision}, {at:%Y-%m-%d %H:%M:%S} UTC, {row.actor or 'unknown'}, "
        f"version {row.number or '(all)'}: {_changes(before, after)}; reason: {after.change.why}"
    )


def _changes(before: DatedPolicy, after: DatedPolicy) -> str:
    changes = differences(before.policy, after.policy)
    parts = [f"{name} {_format(old)} -> {_format(new)}" for name, (old, new) in changes.items()]
    text = ", ".join(parts) or "no difference"
    return f"policy of the manifest ({text})" if after.change.stated is None else text
