"""Transfer the monitor's state to other partitions when the log's partition count changes.

Some state belongs to one partition: versions, chains and ledgers of shards, queued scoring jobs,
labels without a prediction, and dead letters. The transfer assigns each item to the partition to
which its shard (a group of models) now hashes. State keyed by a model's name (windows, rows,
labels, results) is not changed. The first transfer divides the state of an undivided log. A
transfer is one transaction, and counts the moved items.

A new partition count changes the partition of a shard: earlier records are in the old partition,
later records in the new partition. A transfer is therefore refused unless every earlier record is
ingested and there are no later records.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from eventlog import wire
from eventlog.division import partition_of
from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import PredictionEvent
from eventlog.shards import NO_MODEL, SHARD_DIGITS, shard_of
from monitoring.chains import Chain
from monitoring.errors import PartitionsChanged
from monitoring.results import Hole, SourceLedger
from monitoring.source_ledgers import UNDIVIDED, states_losses
from monitoring.storage.database import Database, as_bytes, as_int, as_struct
from monitoring.storage.pending_scores import PendingScore
from monitoring.storage.predictions import ANYWHERE
from monitoring.storage.rows import encode
from monitoring.storage.sql import partitions as queries
from monitoring.storage.sql import progress, results

_logger = logging.getLogger(__name__)

Ends = Mapping[str, tuple[int, int]]  # stream: (first offset, end offset)
_TAGGED = re.compile(r"[0-9a-f]{10}-")  # start of a prediction id that contains its shard
_INSTRUCTIONS = (
    "stop the forwarders, let the monitors ingest every record with the former number of "
    "partitions, change the number for every topic, and start the monitors before the forwarders"
)


def settle_layout(database: Database, partitions: int, ends: Callable[[], Ends]) -> int:
    """Transfer the stored state to `partitions` partitions if necessary; return `partitions`.

    Raises PartitionsChanged if a transfer is necessary but not possible now.
    """
    if layout(database) == partitions:
        return partitions
    names = _lock_all(database, layout(database) or 1)
    try:
        with database.transaction():
            if (before := layout(database)) != partitions:
                if before:
                    _require_drained(database, before, partitions, ends)
                _Transfer(database, before, partitions).run()
    finally:
        for name in names:
            database.unlock(name)
    return partitions


def layout(database: Database) -> int:
    """Return the number of partitions of the stored state; 0 if it is undivided."""
    row = database.one(progress.LAYOUT)
    return 0 if row is None else as_int(row[0])


def _lock_all(database: Database, partitions: int) -> list[str]:
    """Acquire the locks of all partitions; raises PartitionsChanged if a partition is held."""
    names: list[str] = []
    for number in range(partitions):
        name = f"partition {number}"
        if not database.try_lock(name):
            for lock in names:
                database.unlock(lock)
            raise PartitionsChanged(
                f"the state in the database must be transferred to other partitions, but "
                f"another monitor still holds partition {number}"
            )
        names.append(name)
    return names


def _require_drained(database: Database, before: int, after: int, ends: Callable[[], Ends]) -> None:
    """Raise PartitionsChanged if earlier records are not ingested or later records exist."""
    changed = f"the topics have {after} partitions, and the state in the database has {before}"
    try:
        offsets = ends()
    except LogUnavailable as error:
        raise PartitionsChanged(
            f"{changed}: cannot check whether every record is ingested: {error}"
        ) from None
    read = {str(name): as_int(at) for name, _, at in database.all(progress.ALL_POSITIONS)}
    for stream, (first, end) in sorted(offsets.items()):
        number = int(stream.rpartition("/")[2])
        unread = end - (read.get(stream, first) if number < before else first)
        if unread > 0:
            problem = "are not ingested" if number < before else "were written since"
            raise PartitionsChanged(
                f"{changed}: {unread:,} records of {stream} {problem}; {_INSTRUCTIONS}"
            )


class _Transfer:
    """One transfer, in the caller's transaction."""

    def __init__(self, database: Database, before: int, after: int) -> None:
        self._database = database
        self._before = before
        self._after = after
        self._moved: Counter[str] = Counter()  # number of moved items by kind

    def run(self) -> None:
        """Assign all state to the new partitions."""
        chains = [as_struct(body, Chain) for (body,) in self._database.all(progress.ALL_CHAINS)]
        self._move_versions()
        self._move_chains(chains)
        self._move_ledgers(chains)
        self._move_jobs()
        self._move_labels()
        self._move_letters()
        self._move_positions()
        self._copy_horizons()
        self._database.do(queries.DELETE_FROM, partition=self._after)
        self._database.write(progress.SAVE_LAYOUT, "partitions", self._after)
        for name, count in sorted(self._moved.items()):
            self._database.write(progress.COUNT, 0, f"handed_over_{name}", count)
        level = logging.WARNING if self._moved.total() else logging.INFO
        _logger.log(
            level,
            "transferred the state of %s to %d partitions: %s",
            f"{self._before} partitions" if self._before else "the whole log",
            self._after,
            ", ".join(f"{count:,} {name}" for name, count in sorted(self._moved.items())) or "none",
        )

    def _owner(self, shard: str) -> int:
        return partition_of(shard, self._after)

    def _move_versions(self) -> None:
        rows = [
            (self._owner(shard_of(str(model))), str(model), str(version))
            for model, version in self._database.all(queries.VERSIONS)
        ]
        self._database.many(queries.MOVE_VERSION, rows)
        self._moved["versions"] += len(rows)

    def _move_chains(self, chains: Iterable[Chain]) -> None:
        rows = [(self._owner(chain.shard), chain.source, chain.shard) for chain in chains]
        self._database.many(queries.MOVE_CHAIN, rows)
        self._moved["chains"] += len(rows)

    def _move_ledgers(self, chains: Iterable[Chain]) -> None:
        ledgers = [
            (as_int(partition), str(shard), as_struct(body, SourceLedger))
            for partition, shard, body in self._database.all(progress.ALL_LEDGERS)
        ]
        self._database.do(queries.DELETE_LEDGERS)
        divided = self._divided(ledgers) if self._before else self._undivided(ledgers, chains)
        rows = {(number, ledger.source, shard): encode(ledger) for number, shard, ledger in divided}
        self._database.many(progress.SAVE_LEDGER, [(*key, rows[key]) for key in sorted(rows)])

    def _divided(
        self, ledgers: Iterable[tuple[int, str, SourceLedger]]
    ) -> Iterable[tuple[int, str, SourceLedger]]:
        """Yield the ledgers of the former partitions, each with its new partition."""
        for partition, shard, ledger in ledgers:
            if states_losses(shard, divided=True):
                yield self._owner(shard), shard, ledger
            elif shard or partition == UNDIVIDED:
                yield partition, shard, ledger
            else:  # copied at the first transfer: all its events are ingested or lost
                copy = _without_counts(replace(ledger, holes=[]))
                yield from ((number, "", copy) for number in range(self._after))

    def _undivided(
        self, ledgers: Iterable[tuple[int, str, SourceLedger]], chains: Iterable[Chain]
    ) -> Iterable[tuple[int, str, SourceLedger]]:
        """Yield copies of an undivided log's ledgers for each partition, and a ledger per shard.

        The copies identify the events that were ingested before the transfer. A shard's ledger
        starts at the next number of its chain. Earlier missing events stay holes in the copies.
        """
        for _, _, ledger in ledgers:
            given_up = [Hole(hole.start, hole.end, lost=True) for hole in ledger.holes]
            yield UNDIVIDED, "", replace(ledger, holes=given_up)
            yield from ((number, "", _without_counts(ledger)) for number in range(self._after))
        for chain in chains:
            yield (
                self._owner(chain.shard),
                chain.shard,
                SourceLedger(
                    source=chain.source, epoch=chain.epoch, next_sequence=chain.next_number
                ),
            )

    def _move_jobs(self) -> None:
        """Assign queued scoring jobs in their order; each partition numbers its jobs separately."""
        numbers: Counter[int] = Counter()
        moved: list[tuple[int, PendingScore]] = []
        for partition in range(self._before or 1):
            for number, _ in self._database.all(results.JOB_SIZES, partition=partition):
                place = {"partition": partition, "number": number}
                stored_job = self._database.one(results.JOB, **place)
                assert stored_job is not None
                job = as_struct(stored_job[0], PendingScore)
                moved.append((self._owner(shard_of(job.job.model)), job))
                self._database.do(results.DELETE_JOB, **place)
        for owner, job in moved:
            numbers[owner] += 1
            body = encode(replace(job, number=numbers[owner]))
            self._database.write(results.ADD_JOB, owner, numbers[owner], body)
        self._moved["scorings"] += len(moved)

    def _move_labels(self) -> None:
        """Assign early labels by the shard in their prediction id, or to ANYWHERE without one."""
        ids = [str(prediction_id) for (prediction_id,) in self._database.all(queries.LABELS)]
        rows = [
            (
                self._owner(prediction_id[:SHARD_DIGITS])
                if _TAGGED.match(prediction_id)
                else ANYWHERE,
                prediction_id,
            )
            for prediction_id in ids
        ]
        self._database.many(queries.MOVE_LABEL, rows)
        self._moved["waiting_labels"] += len(rows)

    def _move_letters(self) -> None:
        letters = self._database.all(queries.LETTERS)
        rows = [(self._owner(_shard(as_bytes(body))), number) for number, body in letters]
        self._database.many(queries.MOVE_LETTER, rows)
        self._moved["dead_letters"] += len(rows)

    def _move_positions(self) -> None:
        """Assign each topic partition's position to its number; local segments have no number."""
        rows = []
        for name, _, _ in self._database.all(progress.ALL_POSITIONS):
            topic, slash, number = str(name).rpartition("/")
            of_topic = topic and slash and number.isdigit()
            rows.append((int(number) if of_topic else UNDIVIDED, str(name)))
        self._database.many(queries.MOVE_POSITION, rows)

    def _copy_horizons(self) -> None:
        """Set every partition's expiry horizons to the oldest of the former partitions."""
        horizons = self._database.all(queries.HORIZONS)
        oldest: dict[str, int] = {}
        for name, until in horizons:
            oldest[str(name)] = min(as_int(until), oldest.get(str(name), as_int(until)))
        for name, until in sorted(oldest.items()):
            rows = [(number, name, until) for number in range(self._after)]
            self._database.many(progress.SAVE_HORIZON, rows)


def _without_counts(ledger: SourceLedger) -> SourceLedger:
    """Return a ledger with all counters at 0."""
    return replace(
        ledger,
        events=0,
        heartbeats=0,
        lost=0,
        recovered=0,
        duplicated=0,
        unreadable=0,
        cuts=0,
    )


def _shard(body: bytes) -> str:
    """Return the shard of a dead letter's model, or NO_MODEL."""
    try:
        event = wire.decode(body)
    except UnreadableEvent:
        return NO_MODEL
    if not event.shard and isinstance(event, PredictionEvent):
        return shard_of(event.model)
    return event.shard or NO_MODEL
