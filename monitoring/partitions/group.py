"""Ingest the partitions that Kafka's consumer group assigns to this monitor.

Each partition is a log of its own: a `Consumer` with its state, committed in transactions of its
own. An advisory lock on the committing connection fences it: a monitor that lost a partition, and
does not know it yet, still holds the lock, and the next one waits for it. A monitor that loses its
connection loses the locks and what was not committed at once.
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

_REPORT_EVERY = 2.0  # seconds between two reports of what is held


class PartReader(Reader, Protocol):
    """A reader of one partition."""

    @property
    def behind(self) -> int:
        """Return how many of its records were not returned yet."""
        ...


class GroupReader(Protocol):
    """A reader of the partitions that a group assigns; see `KafkaReader`."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the partitions of each topic; 0 while unknown."""
        ...

    @property
    def assigned(self) -> set[int] | None:
        """Return the numbers that the group assigns to this reader; None while it rebalances."""
        ...

    def fetch(self, limit: int) -> None:
        """Fetch new records and follow the group."""
        ...

    def ends(self) -> Ends:
        """Return the first offset and the end of every stream."""
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
        """Hold locks on the connection of `database`, on which partitions are committed, too.

        `open_partition` loads the committed state of a partition, and `close_partition` releases
        what it needed beside. `holder` names this monitor. `note` hears of what each step read.
        """
        self._database = database
        self._open_partition = open_partition
        self._close_partition = close_partition
        self._note = note
        self._clock = clock
        self._holders = Holders(database, holder)
        self._reader: GroupReader | None = None
        self._partitions = 0  # partitions of the log; 0: not known yet
        self._held: dict[int, tuple[Consumer, TrackedPart]] = {}
        self._due = 0.0  # time of the next report
        self._steps = 0
        self.positions: Positions = _HeldPositions(self._held)
        database.limit_idleness()

    def follow(self, reader: GroupReader) -> None:
        """Read with `reader`, which asks `claim` and begins at `positions`."""
        self._reader = reader

    def claim(self, number: int) -> bool:
        """Hold a partition from now on; False while another monitor holds it."""
        if number in self._held:
            return True
        if {*self._of_group.counts.values()} != {self._partitions}:
            return False  # its shards are not known, or change
        if not self._database.try_lock(lock_of(number)):
            return False
        division = Division(self._partitions, number)
        part = TrackedPart(self._of_group.part(number))
        self._held[number] = self._open_partition(division, part), part
        self._due = 0.0
        return True

    def step(self, limit: int) -> bool:
        """Ingest at most `limit` records of each held partition; returns whether there were any.

        Raises PartitionsChanged if the topics have another number of partitions than the state.
        """
        reader = self._of_group
        self._report()
        reader.fetch(limit * max(1, len(self._held)))
        counts = {*reader.counts.values()}
        if len(counts) != 1 or 0 in counts:
            return False  # not known yet, or topics that no forwarder writes to
        (partitions,) = counts
        if partitions != self._partitions:
            self._release({*self._held})
            self._partitions = settle_layout(self._database, partitions, reader.ends)
        if (assigned := reader.assigned) is not None:
            self._release(self._held.keys() - assigned)
        moved = False
        for consumer, _ in self._held.values():
            moved |= consumer.step(limit)
        self._note(_oldest([part.last for _, part in self._held.values()]))
        self._steps += 1
        if self._steps % RETRY_STEPS == 0:
            for consumer, _ in self._held.values():
                consumer.retry_dead_letters()
        self._report()
        return moved

    def run(self, wait: Callable[[float], bool], limit: int, idle_pause: float) -> None:
        """Step until `wait(seconds)` returns True, and release what is held.

        Pause where everything is read: the next transactions then hold more records.
        """
        while not wait(0 if self.step(limit) and self._has_work() else idle_pause):
            pass
        self.close()

    def close(self) -> None:
        """Release what is held."""
        self._due = 0.0
        self._report()
        self._release({*self._held})

    def close_all(self) -> None:
        """Close every open window of the held partitions now."""
        for consumer, _ in self._held.values():
            consumer.close_all()

    @property
    def drained(self) -> bool:
        """Return whether each partition is read to its end, or held by another monitor."""
        if not self._held or self._held.keys() != self._of_group.assigned:
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
    def _of_group(self) -> GroupReader:
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
        """Release these partitions to other monitors; their last steps are committed."""
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
            layout(self._database)  # a statement, or the connection would count as stalled


class TrackedPart:
    """The reader of one partition, and what its last poll returned."""

    def __init__(self, reader: PartReader) -> None:
        self._reader = reader
        self.last: Sequence[Record] = ()

    @property
    def drained(self) -> bool:
        """Return whether the partition was read to its end."""
        return self._reader.drained

    @property
    def patience(self) -> float:
        """Return the seconds for which a record may arrive after later ones of its source."""
        return self._reader.patience

    @property
    def behind(self) -> int:
        """Return how many records were not returned yet."""
        return self._reader.behind

    def poll(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` new records."""
        self.last = self._reader.poll(limit)
        return self.last

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps found since the last call."""
        return self._reader.gaps()

    def close(self) -> None:
        """Release nothing: the group's reader is closed as a whole."""


class _HeldPositions(Mapping[str, Position]):
    """The positions of every held partition, as its last step committed them."""

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
    """Return the name of a partition's advisory lock; a log that is not divided has number 0."""
    return f"partition {number}"


def _oldest(polled: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """Return the poll whose first record was received first; empty if nothing was polled."""
    return min((records for records in polled if records), key=_reception, default=())


def _reception(records: Sequence[Record]) -> int:
    received = (
        record.event.received for record in records if not isinstance(record.event, UnreadableEvent)
    )
    return next(received, 0)
