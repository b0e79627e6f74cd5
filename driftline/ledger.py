"""`driftline ledger`: compare answered, logged, forwarded, dead-lettered and monitored events."""

import sys
from collections import Counter
from collections.abc import Container, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from eventlog.answer_counts import MINUTE, first_answered_epoch, minute_of, read_answer_counts
from eventlog.balance import Balance, SourceCounts, balance_of, count_records
from eventlog.dead_letters import DeadLetters
from eventlog.follower import Follower
from eventlog.layout import segments
from eventlog.log import Position
from eventlog.retention import read_positions
from eventlog.segment_counts import CountedEvents, SegmentCounts
from eventlog.settings import Home
from monitoring.chains import PATIENCE, promise
from monitoring.results import SourceLedger
from monitoring.settings import database_address
from monitoring.storage.database import exists
from monitoring.storage.store import Store
from telemetry.clock import now_us

_START = Position(0, 0)
_BEHIND_ALL = Position(1 << 62, 0)  # after every record
_UNKNOWN = 1 << 62  # placeholder for a minute, later than every event
_MOST_SHARDS = 10  # maximum number of shards in one line
_FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [ledger]


@click.command()
@click.option(
    "--from", "begin", type=click.DateTime(_FORMATS), help="Start of the period, inclusive, UTC."
)
@click.option(
    "--to", "end", type=click.DateTime(_FORMATS), help="End of the period, exclusive, UTC."
)
@click.option("--verify", is_flag=True, help="Read every event again; ignore stored counts.")
def ledger(begin: datetime | None, end: datetime | None, verify: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Compare the numbers of answered, logged, forwarded and monitored events per source.

    An event counts in the minute of its reception. A logged event is forwarded, dead-lettered or
    in transit. Exits 1 if an event is missing that is not in transit.

    Complete segments are counted once, and their counts are stored in the home. --verify counts
    them again and decodes every event.
    """
    minutes = (_minute(begin, 0), _minute(end, 1 << 62))
    sources = _count_sources(Home.from_environment(), verify=verify)
    accounts = [balance_of(counts, minutes) for counts in sources]
    Console().print(_table(accounts))
    for account in accounts:
        for line in _differences(account):
            click.echo(line)
    sys.exit(0 if all(account.balanced for account in accounts) else 1)


def _count_sources(home: Home, *, verify: bool) -> list[SourceCounts]:
    """Count the events of each source at each stage.

    The last stage is read first, so that events in transit do not seem to be missing.
    """
    sources = {path.name: SourceCounts(path.name) for path in _sources(home)}
    positions, since, newest, divided, behind = _add_monitored(home, sources)
    cursors = read_positions(home.cursors) if home.cursors.exists() else None
    for name in cursors or {}:
        sources.setdefault(name, SourceCounts(name))
    for counts in sources.values():
        # A source without a cursor may be a source of another host, read from Kafka.
        was_local = counts.cut or counts.source in (cursors or {})
        counts.removed = was_local and not (home.log / counts.source).is_dir()
    for path in _sources(home):
        sources[path.name].answered = read_answer_counts(path) or None
        if cursors is not None:
            sources[path.name].forwarded, sources[path.name].dead_lettered = Counter(), Counter()
    _read_segments(home, sources, cursors or {}, positions, verify=verify)
    for counts in sources.values():
        # If the monitor has read everything that the source wrote, nothing is in transit.
        read = counts.source in positions and positions[counts.source] == counts.end
        if counts.silent_since + PATIENCE >= (now_us() if read else newest):
            counts.silent_since = 0
        if counts.source in divided:
            counts.missing += _unsent(counts) + behind
        else:
            counts.cut |= (
                counts.logged.total() > 0 and positions.get(counts.source, _START) > counts.end
            )
        if any(minute < since for minute in counts.logged):
            counts.begins = max(counts.begins, since)
    return [sources[source] for source in sorted(sources)]


class _Monitored(NamedTuple):
    """The monitor's position in each source, and the extent of its counts."""

    positions: dict[str, Position]
    since: int  # first minute that the monitor counted
    newest: int  # latest reception over all sources, in microseconds
    # Sources that are read by Kafka partition, without a position in the source's own log. Their
    # events are in transit until the forwarder has sent and the partitions have ingested them.
    divided: frozenset[str] = frozenset()
    behind: int = 0  # records that the partitions have not ingested


def _add_monitored(home: Home, sources: dict[str, SourceCounts]) -> _Monitored:
    """Add the counts that the monitor stored; return its positions."""
    positions: dict[str, Position] = {}
    address = database_address(home)
    if not exists(address):
        return _Monitored(positions, 0, 0)
    store = Store(address)
    entries, monitored = _monitored(store)
    since = store.monitored_since()
    chains = store.chains()
    behind = sum(partition.behind for partition in store.partitions())
    store.close()
    for entry in entries:
        counts = sources.setdefault(entry.source, SourceCounts(entry.source))
        positions[entry.source] = _BEHIND_ALL if entry.divided else entry.top
        counts.missing = entry.missing
        counts.cut, counts.lost = entry.cuts > 0, entry.lost
        counts.uncounted = _uncounted(entry, monitored.get(entry.source, Counter()), since)
    for counts in sources.values():
        counts.monitored = monitored.get(counts.source, Counter())
    for source, group in groupby(chains, lambda chain: chain.source):  # chains are sorted by source
        source_chains = list(group)
        sources[source].silent_since = promise(source_chains)
        sources[source].missing_by_shard = {
            chain.shard: chain.missing for chain in source_chains if chain.missing
        }
    newest = max((entry.received for entry in entries), default=0)
    divided = frozenset(entry.source for entry in entries if entry.divided)
    return _Monitored(positions, since, newest, divided, behind)


def _unsent(counts: SourceCounts) -> int:
    """Return the number of logged events that the forwarder has not sent."""
    if counts.forwarded is None or counts.dead_lettered is None:
        return 0
    return counts.logged.total() - counts.forwarded.total() - counts.dead_lettered.total()


def _monitored(store: Store) -> tuple[list[SourceLedger], dict[str, Counter[int]]]:
    """Read the monitor's positions and counts of the same step, even if the monitor is running."""
    before = store.ledger()
    while True:
        counts, after = store.monitored(), store.ledger()
        if after == before:
            return after, counts
        before = after


def _uncounted(entry: SourceLedger, minutes: Counter[int], since: int) -> int:
    """Return the number of events ingested by an old release that did not count by minute.

    Returns 0 if retention may have deleted counts, because the number is then unknown.
    """
    if since and since >= min(minutes, default=0):
        return 0
    return max(0, entry.events - entry.unreadable - minutes.total())


def _read_segments(
    home: Home,
    sources: dict[str, SourceCounts],
    cursors: dict[str, Position],
    positions: dict[str, Position],
    *,
    verify: bool,
) -> None:
    """Count the events of the segments; with `verify`, decode every event, ignore stored counts."""
    for path in _sources(home):
        present = segments(path)
        first = first_answered_epoch(path)
        if not present or present[0].base or present[0].epoch > first:
            sources[path.name].begins = _UNKNOWN  # until the first record is read
    letters = DeadLetters(home.dead_letters).origins()
    segment_counts = SegmentCounts(home.segment_counts)
    for path in _sources(home):
        counts = sources[path.name]
        cursor, read = cursors.get(path.name, _START), positions.get(path.name, _START)
        counted = None if verify else segment_counts.count(path, {"cursor": cursor, "seen": read})
        if counted is None:
            _read_source(path, counts, cursor, read, letters)
        else:
            _add_counted(counted, counts, cursor, letters)
        if counts.begins == _UNKNOWN and not counts.answered:
            counts.begins = 0  # the source has answered no request yet
    segment_counts.save()


def _read_source(
    path: Path,
    counts: SourceCounts,
    cursor: Position,
    position: Position,
    letters: Container[tuple[str, int, int]],
) -> None:
    follower = Follower(path, _START)
    while records := follower.peek(5_000):
        for record in records:
            count_records(counts, [record], cursor, position, letters)
            if counts.begins == _UNKNOWN and counts.logged:
                counts.begins = min(counts.logged) + 1  # the first minute may be incomplete
        follower.drop(len(records))
    follower.close()


def _add_counted(
    counted: CountedEvents,
    counts: SourceCounts,
    cursor: Position,
    letters: Mapping[tuple[str, int, int], int],
) -> None:
    counts.logged, counts.due, counts.end = counted.logged, counted.before["seen"], counted.end
    if counts.begins == _UNKNOWN and counted.first is not None:
        counts.begins = counted.first + 1
    if counts.forwarded is None or counts.dead_lettered is None:
        return
    counts.forwarded = counted.before["cursor"]
    for (source, epoch, sequence), received in letters.items():
        # An unreadable record has no known reception, so it is not among the counted records.
        if source == counts.source and received and Position(epoch, sequence) < cursor:
            minute = minute_of(received)
            if counts.forwarded[minute] > 0:  # 0 if retention has deleted the record
                counts.forwarded[minute] -= 1
                counts.dead_lettered[minute] += 1


def _sources(home: Home) -> list[Path]:
    return sorted(path for path in home.log.iterdir() if path.is_dir()) if home.log.is_dir() else []


def _minute(when: datetime | None, default: int) -> int:
    if when is None:
        return default
    return int(when.replace(tzinfo=UTC).timestamp() * 1_000_000) // MINUTE


def _losses(account: Balance) -> list[str]:
    """Describe the lost events and missing heartbeats of a source."""
    lines = []
    if account.lost:
        lines.append(
            f"{account.source}: {account.lost:,} "
            f"lost{_by_shard(account.missing_by_shard, account.lost)}"
        )
    if account.silent_since:
        lines.append(
            f"{account.source}: no heartbeat since {_utc(account.silent_since)}, and no end event: "
            "its worker died, or its last events have not arrived"
        )
    return lines


def _by_shard(missing: Mapping[str, int], lost: int) -> str:
    """Return the number of missing events by shard as text, "" if no shard is known."""
    if not missing:
        return ""
    texts = [f"{number:,} of shard {shard}" for shard, number in sorted(missing.items())]
    more = f" and {len(texts) - _MOST_SHARDS} more shards" if len(texts) > _MOST_SHARDS else ""
    separator = ": " if sum(missing.values()) == lost else "; lost, unreadable or in transit: "
    return f"{separator}{', '.join(texts[:_MOST_SHARDS])}{more}"


def _utc(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _table(accounts: list[Balance]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("source")
    for name in ("answered", "logged", "forwarded", "dead-lettered", "monitored"):
        table.add_column(name, justify="right")
    for account in accounts:
        figures = (
            account.answered,
            account.logged,
            account.forwarded,
            account.dead_lettered,
            account.monitored,
        )
        table.add_row(account.source, *("-" if n is None else f"{n:,}" for n in figures))
    return table


def _differences(account: Balance) -> list[str]:
    lines = []
    if account.unlogged:
        lines.append(f"{account.source}: {account.unlogged:,} answered but not in the log")
    if account.unmonitored:
        lines.append(f"{account.source}: {account.unmonitored:,} in the log but not monitored")
    lines += _losses(account)
    if account.uncounted:
        lines.append(
            f"{account.source}: {account.uncounted:,} monitored by an earlier release, which did "
            "not count events by minute"
        )
    if account.surplus and account.cut:
        lines.append(
            f"{account.source}: {account.surplus:,} monitored but no longer in the log: an older "
            "copy of the log was restored, or the log was damaged"
        )
    elif account.surplus:
        lines.append(
            f"{account.source}: {account.surplus:,} counted by the monitor but not in the log"
        )
    if account.removed:
        lines.append(
            f"{account.source}: its folder was removed from the log; events that had not been read "
            "are lost"
        )
    if account.dead_lettered:
        lines.append(
            f"{account.source}: {account.dead_lettered:,} dead-lettered by the forwarder; "
            "`driftline events deadletters` shows the reasons"
        )
    if account.clipped:
        lines.append(
            f"{account.source}: retention deleted the oldest events; only the others are compared"
        )
    return lines
