"""`driftline limits`: show or change the limits of a version without a new registration."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from driftline.convergence import wait_for_workers
from driftline.number_types import INTEGER, SECONDS
from driftline.operator_changes import SetLimits
from driftline.registry_access import SERVER, RegistryAccess, open_access
from registry.errors import UnknownVersion
from registry.history.lifecycle import reduce_rows
from registry.history.rows import HistoryRow
from registry.limits import UNCHANGED, LimitChange, limited
from registry.manifest import Manifest

_MEANINGS = {
    "max_batch_size": "Maximum number of rows in a batch.",
    "max_batch_bytes": "Maximum bytes of a batch's inputs; a batch of one request may have more.",
    "max_delay_us": "Maximum time, in microseconds, that a batch waits for more requests.",
    "max_requests": "Maximum number of queued requests, per worker and priority level.",
    "max_bytes": "Maximum number of queued bytes, per worker and priority level.",
    "max_wait_ms": "Requests with a longer expected wait, in milliseconds, are refused.",
    "priority_levels": "Number of priority levels; level 1 is the highest.",
    "default_priority": "Priority of requests that state no priority.",
    "priority_step_ms": "Head start of each priority level over the next, in milliseconds.",
    "cache_max_bytes": "Size of the response cache in bytes, per worker; 0 switches it off.",
}
_NOT_SET = "service default"


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [limits]


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(LimitChange.__struct_fields__):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, type=INTEGER, help=_MEANINGS[name])(command)
    return command


@click.command()
@click.argument("model")
@click.argument("version", default="")
@_options
@click.option("--reset", is_flag=True, help="Revoke all changes.")
@click.option("--wait/--no-wait", default=True, help="Wait until every worker has applied it.")
@click.option("--timeout", default=60.0, type=SECONDS, show_default=True, help="Seconds to wait.")
@SERVER
def limits(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    version: str,
    reset: bool,
    wait: bool,
    timeout: float,
    server: str,
    **fields: int | None,
) -> None:
    """Show or change the limits of MODEL, or of one VERSION (number or alias).

    Without VERSION, a change applies to all present and future versions. The model is not
    reloaded, and queued requests stay queued.
    """
    access = open_access(server)
    change = LimitChange(**fields)
    if reset and change.changes():
        raise click.UsageError("--reset revokes all changes: expected no limit together with it")
    if not reset and not change.changes():
        _show(access, model, version)
        return
    done = access.change(model, SetLimits(number=version, limits=change))
    number, revision = done.number, done.revision
    subject = f"{model} version {number}" if number else f"every version of {model}"
    click.echo(f"{subject}: {_format(change)} (registry revision {revision})")
    if wait:
        reports = wait_for_workers(access, revision, timeout)
        click.echo(f"{len(reports)} of {len(reports)} workers have applied it")


def _format(change: LimitChange) -> str:
    fields = change.changes()
    return ", ".join(f"{n} {v}" for n, v in fields.items()) or "limits of the manifest"


def _show(access: RegistryAccess, model: str, number_or_alias: str) -> None:
    versions, rows = access.versions(model), access.history(model)
    state = reduce_rows(rows)
    number = state.aliases.get(number_or_alias, number_or_alias)
    desired = state.desired([version.number for version in versions])
    if number:
        numbers = ", ".join(version.number for version in versions)
        versions = [version for version in versions if version.number == number]
        if not versions:
            raise UnknownVersion(f"model {model!r} has no version {number!r}; versions: {numbers}")
    table = Table("version", "limit", "value", "manifest", box=None)
    for version in versions:
        change = desired.limits.get(version.number, UNCHANGED)
        now = _values(limited(version.manifest, change))
        for name, before in _values(version.manifest).items():
            was = "" if now[name] == before else str(before)
            table.add_row(version.number, name, str(now[name]), was)
    Console().print(table)
    for row in rows:
        if row.kind == "limits" and row.number in {"", number or row.number}:
            click.echo(_line(row))


def _values(manifest: Manifest) -> dict[str, Any]:
    """Return every limit, by the name of its option."""
    flat = {
        "max_batch_size": manifest.max_batch_size,
        "max_batch_bytes": manifest.max_batch_bytes,
        "cache_max_bytes": manifest.cache.max_bytes,
    }
    names = [name for name in LimitChange.__struct_fields__ if name not in flat]
    queue = {name: getattr(manifest.queue, name) for name in names}
    queue["default_priority"] = queue["default_priority"] or "lowest"
    return {name: _NOT_SET if value is None else value for name, value in {**queue, **flat}.items()}


def _line(row: HistoryRow) -> str:
    at = datetime.fromtimestamp(row.time / 1e6, UTC)
    return (
        f"{at:%Y-%m-%d %H:%M} UTC, {row.actor or 'unknown'}: "
        f"version {row.number or '(all)'} {_format(row.limits())}"
    )
