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

_NOWHERE = Position(0, 0)
_BEHIND_ALL = Position(1 << 62, 0)
_UNKNOWN = 1 << 62
_MOST_SHARDS = 10  # maximum shards in one line
_FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [ledger]


@click.command()
@click.option("--from", "begin", type=click.DateTime(_FORMATS), help="First minute, UTC.")
@click.option("--to", "end", type=click.DateTime(_FORMATS), help="End (exclusive), UTC.")
@click.option("--verify", is_flag=True, help="Read every event again, whatever was counted.")
def ledger(begin: datetime | None, end: datetime | None, verify: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Compare the numbers of answered, logged, forwarded and monitored events per source.

    Events count in the minute in which they were received. Logged events are either forwarded,
    dead-lettered or still in transit. Exits 1 if an event is missing that is not in transit.

    Complete segments are counted once: their counts are stored in the home. --verify counts them
    again, and decodes every event.
    """
    minutes = (_minute(begin, 0), _minute(end, 1 << 62))
    books = _books(Home.from_environment(), verify=verify)
    accounts = [balance_of(book, minutes) for book in books]
    Console().print(_table(accounts))
    for account in accounts:
        for line in _differences(account):
            click.echo(line)
    sys.exit(0 if all(account.balanced for account in accounts) else 1)


def _books(home: Home, *, verify: bool) -> list[SourceCounts]:
    """Read the last stage first, so that events in transit do not seem to be missing."""
    books = {path.name: SourceCounts(path.name) for path in _sources(home)}
    positions, since, newest, divided, behind = _add_monitored(home, books)
    cursors = read_positions(home.cursors) if home.cursors.exists() else None
    for name in cursors or {}:
        books.setdefault(name, SourceCounts(name))
    for book in books.values():
        # Sources without a cursor may be those of other hosts, read from Kafka.
        was_here = book.cut or book.source in (cursors or {})
        book.removed = was_here and not (home.log / book.source).is_dir()
    for path in _sources(home):
        books[path.name].answered = read_answer_counts(path) or None
        if cursors is not None:
            books[path.name].forwarded, books[path.name].dead_lettered = Counter(), Counter()
    _read_segments(home, books, cursors or {}, positions, verify=verify)
    for book in books.values():
        # Where the monitor has read all that the source wrote, nothing can be on its way.
        read = book.source in positions and positions[book.source] == book.end
        if book.silent_since + PATIENCE >= (now_us() if read else newest):
            book.silent_since = 0
        if book.source in divided:
            book.missing += _unsent(book) + behind
        else:
            book.cut |= book.logged.total() > 0 and positions.get(book.source, _NOWHERE) > book.end
        if any(minute < since for minute in book.logged):
            book.begins = max(book.begins, since)
    return [books[source] for source in sorted(books)]


class _Monitored(NamedTuple):
    """The monitor's positions and counts."""

    positions: dict[str, Position]
    since: int  # first minute that it counted
    newest: int  # reception of any source
    # Sources read by partitions, which have no position in the log of a source: what the partitions
    # have not ingested, or the forwarder has not sent, is in transit.
    divided: frozenset[str] = frozenset()
    behind: int = 0  # records that the partitions have not ingested


def _add_monitored(home: Home, books: dict[str, SourceCounts]) -> _Monitored:
    """Add what the monitor stored."""
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
        book = books.setdefault(entry.source, SourceCounts(entry.source))
        positions[entry.source] = _BEHIND_ALL if entry.divided else entry.top
        book.missing = entry.missing
        book.cut, book.lost = entry.cuts > 0, entry.lost
        book.uncounted = _uncounted(entry, monitored.get(entry.source, Counter()), since)
    for book in books.values():
        book.monitored = monitored.get(book.source, Counter())
    for source, own in groupby(chains, lambda chain: chain.source):  # they are in this order
        of_source = list(own)
        books[source].silent_since = promise(of_source)
        books[source].missing_by_shard = {
            chain.shard: chain.missing for chain in of_source if chain.missing
        }
    newest = max((entry.received for entry in entries), default=0)
    divided = frozenset(entry.source for entry in entries if entry.divided)
    return _Monitored(positions, since, newest, divided, behind)


def _unsent(book: SourceCounts) -> int:
    """Return the logged events that the forwarder has not sent."""
    if book.forwarded is None or book.dead_lettered is None:
        return 0
    return book.logged.total() - book.forwarded.total() - book.dead_lettered.total()


def _monitored(store: Store) -> tuple[list[SourceLedger], dict[str, Counter[int]]]:
    """Read the monitor's positions and counts as of one step, while it may be at work."""
    before = store.ledger()
    while True:
        counts, after = store.monitored(), store.ledger()
        if after == before:
            return after, counts
        before = after


def _uncounted(entry: SourceLedger, minutes: Counter[int], since: int) -> int:
    """Return the events that a release without counts by minute took in.

    Unknown, and taken as none, where retention may have deleted counts.
    """
    if since and since >= min(minutes, default=0):
        return 0
    return max(0, entry.events - entry.unreadable - minutes.total())


def _read_segments(
    home: Home,
    books: dict[str, SourceCounts],
    cursors: dict[str, Position],
    positions: dict[str, Position],
    *,
    verify: bool,
) -> None:
    """Count the events of the segments; `verify`: decode every event, ignore stored counts."""
    for path in _sources(home):
        present = segments(path)
        first = first_answered_epoch(path)
        if not present or present[0].base or present[0].epoch > first:
            books[path.name].begins = _UNKNOWN  # until the first record is read
    letters = DeadLetters(home.dead_letters).origins()
    counts = SegmentCounts(home.segment_counts)
    for path in _sources(home):
        book = books[path.name]
        cursor, read = cursors.get(path.name, _NOWHERE), positions.get(path.name, _NOWHERE)
        counted = None if verify else counts.count(path, {"cursor": cursor, "seen": read})
        if counted is None:
            _read_source(path, book, cursor, read, letters)
        else:
            _add_counted(counted, book, cursor, letters)
        if book.begins == _UNKNOWN and not book.answered:
            book.begins = 0  # nothing was answered yet
    counts.save()


def _read_source(
    path: Path,
    book: SourceCounts,
    cursor: Position,
    position: Position,
    letters: Container[tuple[str, int, int]],
) -> None:
    follower = Follower(path, _NOWHERE)
    while records := follower.peek(5_000):
        for record in records:
            count_records(book, [record], cursor, position, letters)
            if book.begins == _UNKNOWN and book.logged:
                book.begins = min(book.logged) + 1  # that minute may have lost its beginning
        follower.drop(len(records))
    follower.close()


def _add_counted(
    counted: CountedEvents,
    book: SourceCounts,
    cursor: Position,
    letters: Mapping[tuple[str, int, int], int],
) -> None:
    book.logged, book.due, book.end = counted.logged, counted.before["seen"], counted.end
    if book.begins == _UNKNOWN and counted.first is not None:
        book.begins = counted.first + 1
    if book.forwarded is None or book.dead_lettered is None:
        return
    book.forwarded = counted.before["cursor"]
    for (source, epoch, sequence), received in letters.items():
        # Of an unreadable record the reception is unknown; it is not among the counted ones.
        if source == book.source and received and Position(epoch, sequence) < cursor:
            minute = minute_of(received)
            if book.forwarded[minute] > 0:  # else retention has deleted it
                book.forwarded[minute] -= 1
                book.dead_lettered[minute] += 1


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
            f"{account.source}: no heartbeat since {_utc(account.silent_since)}, and no end: its "
            "worker died, or its last events have not arrived"
        )
    return lines


def _by_shard(missing: Mapping[str, int], lost: int) -> str:
    """Return in which shards the monitor misses events; empty if none states a shard."""
    if not missing:
        return ""
    texts = [f"{number:,} of shard {shard}" for shard, number in sorted(missing.items())]
    more = f" and {len(texts) - _MOST_SHARDS} more shards" if len(texts) > _MOST_SHARDS else ""
    what = ": " if sum(missing.values()) == lost else "; lost, unreadable or in transit: "
    return f"{what}{', '.join(texts[:_MOST_SHARDS])}{more}"


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
            "not count them by minute"
        )
    if account.surplus and account.cut:
        lines.append(
            f"{account.source}: {account.surplus:,} monitored and no longer in the log: an older "
            "copy of it was restored, or it was damaged since"
        )
    elif account.surplus:
        lines.append(
            f"{account.source}: {account.surplus:,} counted by the monitor and not in the log"
        )
    if account.removed:
        lines.append(
            f"{account.source}: its folder was removed from the log; events that were not read "
            "before are lost"
        )
    if account.dead_lettered:
        lines.append(
            f"{account.source}: {account.dead_lettered:,} dead-lettered by the forwarder; "
            "`driftline events deadletters` shows why"
        )
    if account.clipped:
        lines.append(
            f"{account.source}: retention deleted the beginning; only the rest is compared"
        )
    return lines
