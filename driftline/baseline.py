"""`driftline baseline`: show or choose what a version without a reference is compared with."""

from datetime import UTC, datetime

import click
from rich.console import Console

from driftline.local_actor import local_actor
from driftline.status import plain, table_of
from eventlog.errors import DriftlineError
from eventlog.settings import Home
from monitoring.presenter import formats
from monitoring.results import Window
from monitoring.settings import database
from monitoring.storage.database import exists
from monitoring.storage.store import Store
from monitoring.windows.learned_baseline import MOST_ROWS
from monitoring.windows.policy_periods import MARGIN
from registry.baselines import BaselineRecord
from registry.manifest import Version
from registry.reference_path import learns
from registry.store import Registry

LEAST_ROWS = 100
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


class InvalidBaseline(DriftlineError):
    """The chosen period cannot be a baseline; the message says why and what to do."""


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [baseline]


@click.command()
@click.argument("model")
@click.option("--version", default="", help="Number or alias.  [default: champion, else newest]")
@click.option("--from", "begin", type=_TIME, help="Event time from, UTC.")
@click.option("--to", "end", type=_TIME, help="Event time before, UTC.")
@click.option("--why", default="", help="Reason, recorded with the choice.")
def baseline(
    *, model: str, version: str, begin: datetime | None, end: datetime | None, why: str
) -> None:
    """Show or choose the baseline of a version of MODEL without a registered reference.

    With --from and --to, the sampled rows of that period become the baseline of windows that begin
    at least one minute later. Without them, list the baselines that were recorded.
    """
    home = Home.from_environment()
    registry = Registry(home, wait=True)
    found = _version(registry, model, version)
    if not learns(found):
        raise InvalidBaseline(
            f"{model} version {found.number} has a registered reference: register a version with "
            "another reference to replace it"
        )
    if begin is None and end is None:
        _show(registry, found)
        return
    if begin is None or end is None:
        raise click.UsageError("expected both --from and --to")
    period = Window(_micros(begin), _micros(end))
    if period.start >= period.end:
        raise click.UsageError("expected --from before --to")
    record = _stored(home, found, period, why.strip())
    revision = registry.record_baseline(found, record, actor=local_actor("operate", model).name)
    click.echo(
        f"{model} version {found.number}: {formats.several(record.rows, 'row')} of "
        f"{formats.period(period)} are the baseline of windows that begin in a minute or later "
        f"(registry revision {revision})"
    )


def _version(registry: Registry, model: str, wanted: str) -> Version:
    versions, aliases = registry.versions(model), registry.aliases(model)
    number = aliases.get(wanted or "champion", wanted) or versions[-1].number
    return registry.version(model, number)


def _stored(home: Home, version: Version, period: Window, why: str) -> BaselineRecord:
    """Write the rows of a period to a file and return its record."""
    from monitoring.baselines.files import BaselineFiles  # noqa: PLC0415 - Arrow, to write only
    from monitoring.baselines.vectors import vector_columns  # noqa: PLC0415 - NumPy
    from registry.sampled_tensors import sampled_vectors  # noqa: PLC0415 - NumPy

    where = database(home)
    if not exists(where):
        raise InvalidBaseline("the monitor has no database yet: run driftline monitor first")
    store = Store(where)
    try:
        most = max(MOST_ROWS, version.manifest.monitoring.baseline.min_rows)
        columns = store.smallest_rows(version.model, version.number, period, most)
        vectors = {
            one.name: store.vectors(version.model, version.number, period, one.name, one.size)
            for one in sampled_vectors(version.manifest)
        }
    finally:
        store.close()
    rows = len(next(iter(columns.values()), []))
    if rows < LEAST_ROWS:
        raise InvalidBaseline(
            f"{formats.period(period)} has {formats.several(rows, 'sampled row')}, at least "
            f"{LEAST_ROWS} are needed: choose a longer period that retention has not deleted"
        )
    columns |= vector_columns(vectors, rows)
    digest = BaselineFiles(home.baselines).write(version.manifest, columns)
    return BaselineRecord(
        origin="chosen", digest=digest, start=period.start, end=period.end, rows=rows, why=why
    )


def _show(registry: Registry, version: Version) -> None:
    recorded = registry.baselines(version)
    if not recorded:
        policy = version.manifest.monitoring.baseline
        click.echo(
            f"{version.model} version {version.number} is learning its baseline: "
            f"{formats.several(policy.windows, 'window')} with "
            f"{formats.several(policy.min_rows, 'row')} are needed"
        )
        return
    table = table_of("Revision", "Origin", "Rows", "Of", "For windows from", "By", "Reason")
    for one in recorded:
        record, row = one.record, one.row
        since = record.end if record.origin == "learned" else row.time + MARGIN
        table.add_row(
            str(row.revision),
            record.origin,
            formats.number(record.rows),
            formats.period(Window(record.start, record.end)),
            formats.moment(since),
            plain(row.actor or "unknown"),
            plain(record.why),
        )
    Console().print(table)


def _micros(moment: datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
