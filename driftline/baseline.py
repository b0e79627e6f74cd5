"""`driftline baseline`: show or choose the baseline of a version without a reference."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.console import Console

from driftline.chosen_baseline import require_learning
from driftline.operator_changes import ChooseBaseline
from driftline.registry_access import SERVER, RegistryAccess, open_access
from driftline.status import plain, table_of
from monitoring.presenter import formats
from monitoring.results import Window
from monitoring.windows.policy_periods import MARGIN
from registry.baselines import baselines_of
from registry.errors import UnknownVersion
from registry.history.lifecycle import reduce_rows
from registry.history.rows import HistoryRow
from registry.manifest import Version

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [baseline]


@click.command()
@click.argument("model")
@click.option("--version", default="", help="Number or alias.  [default: champion, else newest]")
@click.option(
    "--from", "begin", type=_TIME, help="Start of the period in event time, inclusive, UTC."
)
@click.option("--to", "end", type=_TIME, help="End of the period in event time, exclusive, UTC.")
@click.option("--why", default="", help="Reason, recorded with the choice.")
@SERVER
def baseline(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    version: str,
    begin: datetime | None,
    end: datetime | None,
    why: str,
    server: str,
) -> None:
    """Show or choose the baseline of a version of MODEL without a registered reference.

    With --from and --to, the sampled rows of that period become the baseline of windows that begin
    at least one minute from now. Without these options, list the recorded baselines.
    """
    access = open_access(server)
    rows = access.history(model)
    chosen = _version(access, model, rows, version)
    require_learning(chosen)
    if begin is None and end is None:
        _show(chosen, rows)
        return
    if begin is None or end is None:
        raise click.UsageError("expected both --from and --to")
    period = Window(_micros(begin), _micros(end))
    if period.start >= period.end:
        raise click.UsageError("expected --from before --to")
    change = ChooseBaseline(number=chosen.number, start=period.start, end=period.end, why=why)
    done = access.change(model, change)
    click.echo(
        f"{model} version {chosen.number}: {formats.several(done.rows, 'row')} of "
        f"{formats.period(period)} are the baseline of windows that begin at least one minute "
        f"from now (registry revision {done.revision})"
    )


def _version(
    access: RegistryAccess, model: str, rows: Sequence[HistoryRow], number_or_alias: str
) -> Version:
    versions = {version.number: version for version in access.versions(model)}
    number = (
        reduce_rows(rows).aliases.get(number_or_alias or "champion", number_or_alias)
        or list(versions)[-1]
    )
    if number not in versions:
        raise UnknownVersion(
            f"model {model!r} has no version {number!r}; versions: {', '.join(versions)}"
        )
    return versions[number]


def _show(version: Version, rows: Sequence[HistoryRow]) -> None:
    recorded = baselines_of(version.number, rows)
    if not recorded:
        policy = version.manifest.monitoring.baseline
        click.echo(
            f"{version.model} version {version.number} is learning its baseline: "
            f"{formats.several(policy.windows, 'window')} with "
            f"{formats.several(policy.min_rows, 'row')} are needed"
        )
        return
    table = table_of("Revision", "Origin", "Rows", "Period", "For windows from", "By", "Reason")
    for entry in recorded:
        record, row = entry.record, entry.row
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
