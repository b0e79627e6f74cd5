"""Ingest the partitions that Kafka's consumer group assigns to this monitor.

Each partition has a separate `Consumer` with separate state and transactions. An advisory lock on
the committing connection fences each partition. A monitor that has lost a partition without
noticing still holds the lock, so the next monitor must wait. If a monitor loses its connection, it
loses its locks and its uncommitted changes at the same time.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from eventlog.division import Division
from eventlog.errors import UnreadableEvent
from eventlog.log import Gap, Position, Positions, Reader, Record
from monitoring.consumer import RETRY_STEPS, Consumer
from monitoring.partitions.holders import Holders
from monitoring.partitions.repartition import Ends, layout, settle_layout
from monitoring.storage.database import Database

_REPORT_EVERY = 2.0  # seconds between two reports of the held partitions


class PartReader(Reader, Protocol):
    """A reader of one partition."""

    @property
    def behind(self) -> int:
        """Return the number of records that were not polled yet."""
        ...


class GroupReader(Protocol):
    """A reader of the partitions that a consumer group assigns; `KafkaReader` implements it."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the number of partitions of each topic; 0 while it is unknown."""
        ...

    @property
    def assigned(self) -> set[int] | None:
        """Return the partitions that the group assigns to this reader; None while it rebalances."""
        ...

    def fetch(self, limit: int) -> None:
        """Fetch new records and apply changes of the assignment."""
        ...

    def ends(self) -> Ends:
        """Return the first offset and the end offset of every stream."""
        ...

    def part(self, number: int) -> PartReader:
        """Return the reader of a claimed partition."""
        ...


Note = Callable[[Sequence[Record]], None]
OpenPartition = Callable[[Division, "TrackedPart"], Consumer]


class PartitionGroup:
    """The partitions that this monitor holds. Use from one thread."""

    def __init__(  # noqa: PLR0913
        self,
        database: Database,
        open_partition: OpenPartition,
        *,
        holder: str,
        note: Note = lambda _records: None,
        close_partition: Callable[[int], None] = lambda _number: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the connection of `database` for the locks and for the commits of the partitions.

        `open_partition` loads a partition's committed state; `close_partition` releases its other
        resources. `holder` names this monitor. `note` receives the oldest records of each step.
        """
        self._database = database
        self._open_partition = open_partition
        self._close_partition = close_partition
        self._note = note
        self._clock = clock
        self._holders = Holders(database, holder)
        self._reader: GroupReader | None = None
        self._partitions = 0  # number of partitions of the log; 0 while it is unknown
        self._held: dict[int, tuple[Consumer, TrackedPart]] = {}  # keyed by partition
        self._due = 0.0  # time of the next report
        self._steps = 0
        self.positions: Positions = _HeldPositions(self._held)
        database.limit_idleness()

    def set_reader(self, reader: GroupReader) -> None:
        """Read with `reader`, which calls `claim` for partitions and starts at `positions`."""
        self._reader = reader

    def claim(self, number: int) -> bool:
        """Lock and open a partition; return False if it cannot be held now."""
        if number in self._held:
            return True
        if {*self._group_reader.counts.values()} != {self._partitions}:
            return False  # the number of partitions is unknown, or is changing
        if not self._database.try_lock(lock_of(number)):
            return False
        division = Division(self._partitions, number)
        part = TrackedPart(self._group_reader.part(number))
        self._held[number] = self._open_partition(division, part), part
        self._due = 0.0
        return True

    def step(self, limit: int) -> bool:
        """Ingest at most `limit` records of each held partition; return whether there were any.

        Raises PartitionsChanged if the topics have another number of partitions than the state.
        """
        reader = self._group_reader
        self._report()
        reader.fetch(limit * max(1, len(self._held)))
        counts = {*reader.counts.values()}
        if len(counts) != 1 or 0 in counts:
            return False  # the counts are unknown, or differ between topics
        (partitions,) = counts
        if partitions != self._partitions:
            self._release({*self._held})
            self._partitions = settle_layout(self._database, partitions, reader.ends)
        if (assigned := reader.assigned) is not None:
            self._release(self._held.keys() - assigned)
        progressed = False
        for consumer, _ in self._held.values():
            progressed |= consumer.step(limit)
        self._note(_oldest([part.last for _, part in self._held.values()]))
        self._steps += 1
        if self._steps % RETRY_STEPS == 0:
            for consumer, _ in self._held.values():
                consumer.retry_dead_letters()
        self._report()
        return progressed

    def run(self, wait: Callable[[float], bool], limit: int, idle_pause: float) -> None:
        """Step until `wait(seconds)` returns True, then release all partitions.

        Pause at the end of the log, so that the next transactions have more records.
        """
        while not wait(0 if self.step(limit) and self._has_work() else idle_pause):
            pass
        self.close()

    def close(self) -> None:
        """Release all partitions."""
        self._due = 0.0
        self._report()
        self._release({*self._held})

    def close_all(self) -> None:
        """Close every open window of the held partitions now."""
        for consumer, _ in self._held.values():
            consumer.close_all()

    @property
    def drained(self) -> bool:
        """Return whether each partition is ingested to its end, or held by another monitor."""
        if not self._held or self._held.keys() != self._group_reader.assigned:
            return False
        others = set(range(self._partitions)) - self._held.keys()
        return all(consumer.drained for consumer, _ in self._held.values()) and not any(
            map(self._is_free, others)
        )

    @property
    def scoring(self) -> bool:
        """Return whether a window of a held partition is being scored."""
        return any(consumer.scoring for consumer, _ in self._held.values())

    @property
    def _group_reader(self) -> GroupReader:
        assert self._reader is not None
        return self._reader

    def _has_work(self) -> bool:
        return any(consumer.has_work for consumer, _ in self._held.values())

    def _is_free(self, number: int) -> bool:
        free = self._database.try_lock(lock_of(number))
        if free:
            self._database.unlock(lock_of(number))
        return free

    def _release(self, numbers: set[int]) -> None:
        """Release partitions to other monitors; the last steps are already committed."""
        for number in numbers:
            del self._held[number]
            self._close_partition(number)
            self._holders.release(number)
            self._database.unlock(lock_of(number))

    def _report(self) -> None:
        if self._clock() < self._due:
            return
        self._due = self._clock() + _REPORT_EVERY
        self._holders.report({number: part.behind for number, (_, part) in self._held.items()})
        if not self._held:
            layout(
                self._database
            )  # any statement, so that the database does not end this idle connection


class TrackedPart:
    """The reader of one partition, with the records of its last poll."""

    def __init__(self, reader: PartReader) -> None:
        self._reader = reader
        self.last: Sequence[Record] = ()

    @property
    def drained(self) -> bool:
        """Return whether the partition was read to its end."""
        return self._reader.drained

    @property
    def patience(self) -> float:
        """Return for how many seconds a missing record can still arrive."""
        return self._reader.patience

    @property
    def behind(self) -> int:
        """Return the number of records that were not polled yet."""
        return self._reader.behind

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` new records."""
        self.last = self._reader.poll(limit)
        return self.last

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps found since the last call."""
        return self._reader.gaps()

    def close(self) -> None:
        """Do nothing: the group's reader closes all partitions together."""


class _HeldPositions(Mapping[str, Position]):
    """The positions of every held partition, as the last step committed them."""

    def __init__(self, consumers: Mapping[int, tuple[Consumer, TrackedPart]]) -> None:
        self._held = consumers

    def __getitem__(self, stream: str) -> Position:
        for consumer, _ in self._held.values():
            if (position := consumer.positions().get(stream)) is not None:
                return position
        raise KeyError(stream)

    def __iter__(self) -> Iterator[str]:
        return (stream for consumer, _ in self._held.values() for stream in consumer.positions())

    def __len__(self) -> int:
        return sum(len(consumer.positions()) for consumer, _ in self._held.values())


def lock_of(number: int) -> str:
    """Return the name of a partition's advisory lock; an undivided log has number 0."""
    return f"partition {number}"


def _oldest(polled: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """Return the poll whose first record has the earliest reception; empty without records."""
    return min((records for records in polled if records), key=_reception, default=())


def _reception(records: Sequence[Record]) -> int:
    received = (
        record.event.received for record in records if not isinstance(record.event, UnreadableEvent)
    )
    return next(received, 0)
