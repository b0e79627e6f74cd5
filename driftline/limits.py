"""`driftline limits`: show or change the limits of a version without a new registration."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from driftline.convergence import wait_for_workers
from driftline.local_actor import local_actor
from eventlog.settings import Home
from registry.history.rows import HistoryRow
from registry.limits import UNCHANGED, LimitChange, limited
from registry.manifest import Manifest
from registry.shared_workers import AllWorkers
from registry.store import Registry

_MEANINGS = {
    "max_batch_size": "Maximum rows of a batch.",
    "max_delay_us": "Maximum wait of a batch for more requests.",
    "max_requests": "Maximum queued requests, per worker and priority level.",
    "max_bytes": "Maximum queued bytes, per worker and priority level.",
    "max_wait_ms": "Requests with a longer expected wait are refused.",
    "priority_levels": "Number of priority levels; 1 is the highest.",
    "default_priority": "Priority of requests that state none.",
    "priority_step_ms": "Head start of one priority level over the next.",
    "cache_max_bytes": "Size of the response cache, per worker; 0: off.",
}
_AS_SET = "service default"


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [limits]


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(LimitChange.__struct_fields__):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, type=int, help=_MEANINGS[name])(command)
    return command


@click.command()
@click.argument("model")
@click.argument("version", default="")
@_options
@click.option("--reset", is_flag=True, help="Revoke all changes.")
@click.option("--wait/--no-wait", default=True, help="Wait until every worker applied it.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait.")
def limits(
    *, model: str, version: str, reset: bool, wait: bool, timeout: float, **stated: int | None
) -> None:
    """Show or change the limits of MODEL, or of one VERSION (number or alias).

    Without VERSION, a change applies to every version, future ones too. The model is not reloaded;
    queued requests stay queued.
    """
    home = Home.from_environment()
    registry = Registry(home, wait=True)
    change = LimitChange(**stated)
    if reset and change.stated():
        raise click.UsageError("--reset revokes all changes: expected no other limit with it")
    number = registry.aliases(model).get(version, version)
    if not reset and not change.stated():
        _show(registry, model, number)
        return
    revision = registry.limit(model, number, change, actor=local_actor("operate", model).name)
    what = f"{model} version {number}" if number else f"every version of {model}"
    click.echo(f"{what}: {_format(change)} (registry revision {revision})")
    if wait:
        reports = wait_for_workers(AllWorkers(home), revision, timeout)
        click.echo(f"{len(reports)} of {len(reports)} workers have applied it")


def _format(change: LimitChange) -> str:
    stated = change.stated()
    return ", ".join(f"{n} {v}" for n, v in stated.items()) or "limits of the manifest"


def _show(registry: Registry, model: str, number: str) -> None:
    state = registry.state(model)
    versions = [registry.version(model, number)] if number else state.versions
    table = Table("version", "limit", "value", "manifest", box=None)
    for version in versions:
        change = state.desired.limits.get(version.number, UNCHANGED)
        now = _values(limited(version.manifest, change))
        for name, before in _values(version.manifest).items():
            was = "" if now[name] == before else str(before)
            table.add_row(version.number, name, str(now[name]), was)
    Console().print(table)
    for row in registry.history(model):
        if row.kind == "limits" and row.number in {"", number or row.number}:
            click.echo(_line(row))


def _values(manifest: Manifest) -> dict[str, Any]:
    """Return every limit by the name that a change uses."""
    flat = {"max_batch_size": manifest.max_batch_size, "cache_max_bytes": manifest.cache.max_bytes}
    names = [name for name in LimitChange.__struct_fields__ if name not in flat]
    queue = {name: getattr(manifest.queue, name) for name in names}
    queue["default_priority"] = queue["default_priority"] or "lowest"
    return {name: _AS_SET if value is None else value for name, value in {**queue, **flat}.items()}


def _line(row: HistoryRow) -> str:
    at = datetime.fromtimestamp(row.time / 1e6, UTC)
    return (
        f"{at:%Y-%m-%d %H:%M} UTC, {row.actor or 'unknown'}: "
        f"version {row.number or '(all)'} {_format(row.limits())}"
    )
