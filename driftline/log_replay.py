"""Run monitoring again on the recorded log, and compare the results with the recorded results."""

import shutil
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console

from driftline.status import plain, table_of
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from monitoring.backtest import TimeRangeReader, replay_log
from monitoring.baselines.files import BaselineFiles
from monitoring.consumer import tune_garbage_collection
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.presenter import formats
from monitoring.presenter.alarm_sentence import alarm_text
from monitoring.results import Alarm, Result
from monitoring.scoring.process import scoring_command
from monitoring.scoring.scorer_pool import ScorerPool
from monitoring.settings import database_address, retention
from monitoring.storage.database import Database, exists
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.policy_source import FixedPolicy, ReadableVersions, RegistryPolicies
from registry.manifest_file import read_policy
from registry.store import Registry


def recorded_results(home: Home) -> Store | None:
    address = database_address(home)
    return Store(address) if exists(address) else None


def monitor_log(
    home: Home,
    into: Path,
    policy: Path | None = None,
    period: tuple[datetime | None, datetime | None] = (None, None),
    *,
    repair: bool = False,
) -> Store:
    """Monitor a period of the recorded log and write a new database.

    For `repair`, see `replay_log`.
    """
    fresh = into / "monitor.db"
    if fresh.exists():
        raise click.ClickException(f"{fresh} exists; expected a folder without this file")
    into.mkdir(parents=True, exist_ok=True)
    tune_garbage_collection()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    registry = Registry(home)
    recorded = RegistryPolicies(registry)
    timeline = (recorded if policy is None else FixedPolicy(read_policy(policy))).timeline
    reader = TimeRangeReader(
        SegmentReader(home.log, {}), _micros(period[0], 0), _micros(period[1], END_OF_TIME)
    )
    scorer = ScorerPool(scoring_command(into / "reports"))
    database = Database(fresh, durable=False)
    try:
        journal = Journal(database)
        state = ConsumerState(
            journal, ReadableVersions(registry).version, timeline, retention(), recorded.baselines
        )
        baselines = BaselineFiles(home.baselines)
        replay_log(reader, journal, state, scorer, stop, baselines, repair=repair)
    finally:
        scorer.close()
        reader.close()
        database.close()
    if stop.is_set():
        shutil.rmtree(into, ignore_errors=True)
        raise click.Abort
    replayed = Store(fresh)
    _warn_of_dead_letters(replayed)
    return replayed


def _warn_of_dead_letters(replayed: Store) -> None:
    """Warn about records that could not be ingested, such as records of unregistered versions."""
    if count := replayed.totals()["dead_letters"]:
        (last,) = replayed.dead_letters(1)
        records = formats.several(count, "record")
        click.echo(f"{records} could not be ingested; the last reason: {last.reason}", err=True)


def differences(recorded: Store, replayed: Store) -> tuple[list[str], int]:
    """List the windows that both databases have closed with different results.

    Also return the number of differing windows that an earlier release closed; it defined scores
    differently.
    """
    lines: list[str] = []
    earlier = 0
    for pair in replayed.monitored_versions():
        recorded_results = {result.window: result for result in recorded.results(*pair)}
        for result in replayed.results(*pair):
            before = recorded_results.get(result.window)
            if before is None or _same(before, result):
                continue
            if before.figures < result.figures:
                earlier += 1
            else:
                lines.append(f"{pair[0]} version {pair[1]}, {formats.period(result.window)}")
    return lines, earlier


def _same(recorded: Result, replayed: Result) -> bool:
    """Return whether two results are equal, ignoring fields that depend on the run."""
    compared = msgspec.structs.replace(
        replayed,
        revision=recorded.revision,
        report=recorded.report,
        figures=recorded.figures,
    )
    if not recorded.policy:  # a result of an earlier release
        compared = msgspec.structs.replace(compared, policy="")
    return compared == recorded


def compare_alarms(recorded: Store | None, replayed: Store) -> None:
    before = _alarms(recorded) if recorded else {}
    now = _alarms(replayed)
    table = table_of("Alarm", "Recorded", "By this policy", "Text")
    for cause in sorted({*before, *now}):
        alarm = now.get(cause) or before[cause]
        model, version, rule, start = cause
        name = f"{model} version {version}, {rule}, from {formats.moment(start)}"
        compared = [_span(alarms.get(cause)) for alarms in (before, now)]
        table.add_row(plain(name), *compared, plain(alarm_text(alarm)))
    if before or now:
        Console().print(table)
    requests = len(replayed.deliveries())
    click.echo(
        f"{formats.several(len(now), 'alarm')} by this policy, {len(before)} recorded; "
        f"retraining requested {formats.several(requests, 'time')}"
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
