"""`driftline replay` and `backtest`: watch the recorded past again."""

import shutil
import signal
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console

from driftline.status import plain, table_of
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from monitoring.backtest import TimeRangeReader, watch_again
from monitoring.consumer import tune_garbage_collection
from monitoring.presenter import formats
from monitoring.results import Alarm, Result
from monitoring.scoring.process import ScoringProcess, scoring_command
from monitoring.settings import database as recorded_database
from monitoring.settings import retention
from monitoring.storage.database import Database, exists
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.windows.consumer_state import ConsumerState
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.policy_source import FixedPolicy, RegistryPolicies
from registry.manifest_file import read_policy
from registry.store import Registry

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
_FROM = click.option("--from", "begin", type=_TIME, help="Event time from, UTC.")
_TO = click.option("--to", "end", type=_TIME, help="Event time before, UTC.")


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [replay, backtest]


@click.command()
@_FROM
@_TO
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the new database and reports; must not hold one yet.",
)
def replay(begin: datetime | None, end: datetime | None, into: Path) -> None:
    """Compute every window again from the log, and compare with what the monitor found.

    Ends with status 1 where the two differ.
    """
    home = Home.from_environment()
    again = _watch(home, into, None, begin, end)
    recorded = _recorded(home)
    if recorded is None:
        click.echo("There is no monitor's database to compare with.")
        return
    differing = _differences(recorded, again)
    windows = sum(len(again.results(*pair)) for pair in again.watched())
    click.echo(f"{formats.several(windows, 'window')} computed again, {len(differing)} differ")
    for line in differing[:20]:
        click.echo(f"  {line}")
    sys.exit(1 if differing else 0)


@click.command()
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="YAML: a manifest's `monitoring` section.",
)
@_FROM
@_TO
def backtest(policy: Path, begin: datetime | None, end: datetime | None) -> None:
    """Say which alarms another policy would have raised on the recorded past."""
    home = Home.from_environment()
    with tempfile.TemporaryDirectory(prefix="driftline-backtest-") as folder:
        again = _watch(home, Path(folder), policy, begin, end)
        _compare(_recorded(home), again)
        again.close()


def _recorded(home: Home) -> Store | None:
    where = recorded_database(home)
    return Store(where) if exists(where) else None


def _watch(
    home: Home, into: Path, policy: Path | None, begin: datetime | None, end: datetime | None
) -> Store:
    """The database that watching the log again gives."""
    fresh = into / "monitor.db"
    if fresh.exists():
        raise click.ClickException(f"{fresh} exists; expected a folder without one")
    into.mkdir(parents=True, exist_ok=True)
    tune_garbage_collection()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    registry = Registry(home)
    timeline = (
        RegistryPolicies(registry) if policy is None else FixedPolicy(read_policy(policy))
    ).timeline
    reader = TimeRangeReader(
        SegmentReader(home.log, {}), _micros(begin, 0), _micros(end, END_OF_TIME)
    )
    scorer = ScoringProcess(scoring_command(into / "reports"))
    database = Database(fresh, lasting=False)
    try:
        journal = Journal(database)
        state = ConsumerState(journal, registry.version, timeline, retention())
        watch_again(reader, journal, state, scorer, stop)
    finally:
        scorer.close()
        reader.close()
        database.close()
    if stop.is_set():
        shutil.rmtree(into, ignore_errors=True)
        raise click.Abort
    again = Store(fresh)
    _tell_what_was_left_out(again)
    return again


def _tell_what_was_left_out(again: Store) -> None:
    """Nothing found may mean that nothing could be looked at: a version that is not registered."""
    if count := again.totals()["dead_letters"]:
        (last,) = again.dead_letters(1)
        said = f"{formats.several(count, 'record')} of the log could not be taken in, the last one"
        click.echo(f"{said} because {last.reason}", err=True)


def _differences(recorded: Store, again: Store) -> list[str]:
    """What two databases say differently about the windows that both have closed."""
    found: list[str] = []
    for pair in again.watched():
        known = {result.window: result for result in recorded.results(*pair)}
        for result in again.results(*pair):
            before = known.get(result.window)
            if before is not None and not _same(before, result):
                found.append(f"{pair[0]} version {pair[1]}, {formats.period(result.window)}")
    return found


def _same(recorded: Result, again: Result) -> bool:
    """Whether two results say the same, whenever their labels came."""
    told = msgspec.structs.replace(again, revision=recorded.revision, report=recorded.report)
    if not recorded.policy:  # of a release that did not keep it
        told = msgspec.structs.replace(told, policy="")
    return told == recorded


def _compare(recorded: Store | None, again: Store) -> None:
    before = _alarms(recorded) if recorded else {}
    now = _alarms(again)
    table = table_of("Alarm", "Recorded", "By this policy", "What it says")
    for cause in sorted({*before, *now}):
        alarm = now.get(cause) or before[cause]
        model, version, rule, start = cause
        name = f"{model} version {version}, {rule}, from {formats.moment(start)}"
        told = [_span(alarms.get(cause)) for alarms in (before, now)]
        table.add_row(plain(name), *told, plain(alarm.sentence))
    if before or now:
        Console().print(table)
    asked = len(again.deliveries())
    click.echo(
        f"{formats.several(len(now), 'alarm')} by this policy, {len(before)} recorded; "
        f"it would have asked for retraining {formats.several(asked, 'time')}"
        + (f", recorded {len(recorded.deliveries())}" if recorded else "")
    )


def _alarms(store: Store) -> dict[tuple[str, str, str, int], Alarm]:
    return {(a.model, a.version, a.rule, a.since.start): a for a in store.alarms()}


def _span(alarm: Alarm | None) -> str:
    if alarm is None:
        return formats.NOTHING
    return f"to {formats.period(alarm.latest)}"


def _micros(moment: datetime | None, default: int) -> int:
    if moment is None:
        return default
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
