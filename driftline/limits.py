"""`driftline limits`: what may wait for a version, changed without registering it anew."""

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from driftline.convergence import wait_for_workers
from eventlog.settings import Home
from registry.history import HistoryRow
from registry.limits import UNCHANGED, LimitChange, limited
from registry.manifest import Manifest
from registry.store import Registry

_MEANINGS = {
    "max_batch_size": "Rows that may run together.",
    "max_delay_us": "How long a batch may wait to fill.",
    "max_requests": "What may wait, per worker and level.",
    "max_bytes": "What may wait, per worker and level.",
    "max_wait_ms": "Who would wait longer is refused.",
    "priority_levels": "Levels that requests may state; 1 is the highest.",
    "default_priority": "Level of who states none.",
    "priority_step_ms": "What a level is worth.",
    "cache_max_bytes": "Answers remembered, per worker; 0: none.",
}
_AS_SET = "as the service is set"


def commands() -> list[click.Command]:
    """The commands of this file."""
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
@click.option("--reset", is_flag=True, help="Take all changes back.")
@click.option("--wait/--no-wait", default=True, help="Until every worker has followed.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait.")
def limits(
    *, model: str, version: str, reset: bool, wait: bool, timeout: float, **stated: int | None
) -> None:
    """Show the limits of MODEL, or of one VERSION by number or alias, or change them.

    Without VERSION a change holds for every version, future ones too. Nothing is loaded anew, and
    what waits goes on waiting.
    """
    home = Home.from_environment()
    registry = Registry(home)
    change = LimitChange(**stated)
    if reset and change.stated():
        raise click.UsageError("--reset takes all changes back; expected no other limit beside it")
    number = registry.aliases(model).get(version, version)
    if not reset and not change.stated():
        _show(registry, model, number)
        return
    revision = registry.limit(model, number, change, actor=getpass.getuser())
    what = f"{model} version {number}" if number else f"every version of {model}"
    click.echo(f"{what}: {_spell(change)} (registry revision {revision})")
    if wait:
        reports = wait_for_workers(home, revision, timeout)
        click.echo(f"{len(reports)} of {len(reports)} workers have followed")


def _spell(change: LimitChange) -> str:
    stated = change.stated()
    return ", ".join(f"{n} {v}" for n, v in stated.items()) or "the limits of the manifest again"


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
    """Every limit by its name as a change has it."""
    flat = {"max_batch_size": manifest.max_batch_size, "cache_max_bytes": manifest.cache.max_bytes}
    names = [name for name in LimitChange.__struct_fields__ if name not in flat]
    queue = {name: getattr(manifest.queue, name) for name in names}
    queue["default_priority"] = queue["default_priority"] or "the lowest"
    return {name: _AS_SET if value is None else value for name, value in {**queue, **flat}.items()}


def _line(row: HistoryRow) -> str:
    at = datetime.fromtimestamp(row.time / 1e6, UTC)
    return (
        f"{at:%Y-%m-%d %H:%M} UTC, {row.actor or 'unknown'}: "
        f"version {row.number or '(all)'} {_spell(row.limits())}"
    )
