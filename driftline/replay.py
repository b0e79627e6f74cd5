"""`driftline replay` and `backtest`: run monitoring again on the recorded log."""

import sys
import tempfile
from datetime import datetime
from pathlib import Path

import click

from eventlog.settings import Home
from monitoring.presenter import formats

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
_FROM = click.option(
    "--from", "begin", type=_TIME, help="Start of the period in event time, inclusive, UTC."
)
_TO = click.option(
    "--to", "end", type=_TIME, help="End of the period in event time, exclusive, UTC."
)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [replay, backtest]


@click.command()
@_FROM
@_TO
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the new database and reports; must not contain a database yet.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Close windows at the end of the log, so that no row is late. The new database can then "
    "replace the monitor's database.",
)
def replay(begin: datetime | None, end: datetime | None, into: Path, *, repair: bool) -> None:
    """Recompute every window from the log and compare it with the monitor's results.

    Exits 1 if results differ, except with --repair.
    """
    if repair and (begin or end):
        raise click.UsageError("--repair reads the whole log: expected neither --from nor --to")
    from driftline.log_replay import (  # noqa: PLC0415 - imports the whole monitor
        differences,
        monitor_log,
        recorded_results,
    )

    home = Home.from_environment()
    replayed = monitor_log(home, into, None, (begin, end), repair=repair)
    recorded = recorded_results(home)
    if recorded is None:
        click.echo("No monitor database to compare with.")
        return
    differing, earlier = differences(recorded, replayed)
    windows = sum(len(replayed.results(*pair)) for pair in replayed.monitored_versions())
    click.echo(f"{formats.several(windows, 'window')} recomputed, {len(differing)} differ")
    if earlier:
        click.echo(
            f"{formats.several(earlier, 'more window')} differ from results of an earlier release"
        )
    for line in differing[:20]:
        click.echo(f"  {line}")
    sys.exit(1 if differing and not repair else 0)


@click.command()
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="YAML file with the fields of a manifest's `monitoring` section.",
)
@_FROM
@_TO
def backtest(policy: Path, begin: datetime | None, end: datetime | None) -> None:
    """List the alarms that another policy would have raised on the recorded log."""
    from driftline.log_replay import (  # noqa: PLC0415 - imports the whole monitor
        compare_alarms,
        monitor_log,
        recorded_results,
    )

    home = Home.from_environment()
    with tempfile.TemporaryDirectory(prefix="driftline-backtest-") as folder:
        replayed = monitor_log(home, Path(folder), policy, (begin, end))
        compare_alarms(recorded_results(home), replayed)
        replayed.close()
