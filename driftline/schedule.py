"""`driftline schedule`: request retraining of a model at fixed times."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import cast

import click

from driftline.changes import RemoveSchedule, SetSchedule
from driftline.registry_access import SERVER, RegistryAccess, open_access
from registry.history.lifecycle import reduce_rows
from registry.history.rows import CatchUp, HistoryRow, ScheduleChange
from registry.schedules import local_time, next_due
from telemetry.clock import now_us

_SHOWN = 3  # number of listed next times


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [schedule]


@click.command()
@click.argument("model", default="")
@click.argument("cron", default="")
@click.option(
    "--timezone", default="", help="IANA time zone, for example Europe/Paris.  [default: UTC]"
)
@click.option(
    "--catch-up",
    type=click.Choice(["latest", "none"]),
    default=None,
    help="Whether to send the latest request that was missed without a monitor.  [default: latest]",
)
@click.option("--remove", is_flag=True, help="Remove the schedule of MODEL.")
@click.option("--why", default="", help="Reason, recorded with the change.")
@SERVER
def schedule(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    cron: str,
    timezone: str,
    catch_up: str | None,
    remove: bool,
    why: str,
    server: str,
) -> None:
    """Request retraining of MODEL at the times of CRON, or show the schedules.

    CRON has five fields: minute, hour, day, month, day of the week. The monitor sends a request at
    each time, unless an earlier request still waits for its candidate.
    """
    if not cron and (timezone or catch_up):
        raise click.UsageError("--timezone and --catch-up need CRON: five fields in quotes")
    if remove and (cron or not model):
        raise click.UsageError("--remove: expected MODEL, without CRON")
    access = open_access(server)
    if remove:
        access.change(model, RemoveSchedule(why=why))
        click.echo(f"{model} no longer has a schedule")
        return
    if cron:
        when = cast("CatchUp", catch_up or "latest")
        access.change(
            model, SetSchedule(cron=cron, timezone=timezone or "UTC", catch_up=when, why=why)
        )
    rows = _rows(access, model)
    missing = f"{model} has no schedule" if model else "no model has a schedule"
    click.echo("\n".join(line for row in rows for line in _lines(row)) or missing)


def _rows(access: RegistryAccess, model: str) -> Iterable[HistoryRow]:
    """Return the history rows that set the model's schedule, or every schedule for ""."""
    if not model:
        return access.schedules()
    row = reduce_rows(access.history(model)).schedule
    return [] if row is None else [row]


def _lines(row: HistoryRow) -> list[str]:
    return [f"{row.model}: {_line(row)}", *_next(row)]


def _line(row: HistoryRow) -> str:
    schedule = row.decode(ScheduleChange)
    since = datetime.fromtimestamp(row.time / 1e6, UTC)
    why = f": {row.why}" if row.why else ""
    return (
        f'"{schedule.cron}" in {schedule.timezone}, catch up {schedule.catch_up}; '
        f"set by {row.actor} at {since:%Y-%m-%d %H:%M} UTC{why}"
    )


def _next(row: HistoryRow) -> list[str]:
    schedule, after = row.decode(ScheduleChange), max(row.time, now_us())
    lines = []
    for _ in range(_SHOWN):
        after = next_due(schedule.cron, schedule.timezone, after)
        lines.append(f"  next: {local_time(after, schedule.timezone)}")
    return lines
