"""Monitors of partitions in memory: a consumer group whose assignment a test decides."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from eventlog import wire
from eventlog.division import Division, partition_of
from eventlog.errors import UnreadableEvent
from eventlog.events import (
    FeedbackEvent,
    HeartbeatEvent,
    PredictionEvent,
)
from eventlog.log import Gap, Position, Record
from eventlog.shards import shard_of
from monitoring.consumer import Consumer
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.partitions.group import PartitionGroup, TrackedPart
from monitoring.partitions.shared import PartScorer, SharedChanges, SharedScorer
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.journal import Journal
from registry.errors import UnknownModel
from registry.manifest import Version
from tests.monitoring.log_in_memory import (
    HOUR,
    T0,
    VERSION,
    FakeScorer,
    History,
    Story,
    dying,
    ticking,
)

TOPIC_EPOCH = 5
PARTITIONS = 4
MODELS = [f"m{n}" for n in (0, 1, 2, 3, 6, 7)]  # they cover all partitions
COMPARED = {
    "results": "*",
    "alarms": "alarm_id, body",
    "outbox": "*",
    "totals": "*",
    "windows": "*",
    "watches": "*",
    "streaks": "*",
    "predictions": "*",
    "chains": "*",
    "positions": "*",
    "early_labels": "*",
    "monitored": "*",
    "traffic": "*",
    "dead_letters": "origin, reason, body, partition",
}
Streams = dict[int, list[Record]]  # by partition, in the order of reception


def find(model: str, number: str) -> Version:
    if number != "1" or model not in MODELS:
        raise UnknownModel(f"no model {model!r}")
    return replace(VERSION, model=model)


class Models(Story):
    """The policy changes of STORY for every model."""

    def changed(self, since: int) -> set[str]:
        return {*MODELS} if self.revision() > since else set()


def sharded(records: Sequence[Record]) -> list[Record]:
    """Distribute the records over six models and number them within their shards."""
    numbers: Counter[tuple[str, str]] = Counter()
    found = []
    for n, record in enumerate(records):
        event = record.event
        assert not isinstance(event, UnreadableEvent)
        model = MODELS[n % len(MODELS)]
        if not isinstance(event, HeartbeatEvent):
            model = MODELS[int(event.prediction_id.lstrip("p")) % len(MODELS)]
        shard = shard_of(model)
        changes: dict[str, Any] = {"shard": shard, "received": T0 + 10_000 * HOUR + n}
        if isinstance(event, PredictionEvent):
            changes["model"] = model
        changes["number"] = numbers[record.source, shard]
        numbers[record.source, shard] += 1
        event = replace(event, **changes)
        found.append(replace(record, event=event, value=wire.encode(event)))
    return found


def partitioned(records: Sequence[Record], partitions: int = PARTITIONS) -> Streams:
    """Assign records to topics and partitions, as the forwarder does."""
    ends: Counter[str] = Counter()
    parts: Streams = {n: [] for n in range(partitions)}
    for record in records:
        event = record.event
        assert not isinstance(event, UnreadableEvent)
        number = partition_of(event.shard, partitions)
        topic = "labels" if isinstance(event, FeedbackEvent) else "others"
        stream = f"{topic}/{number}"
        ends[stream] += 1
        at = Position(TOPIC_EPOCH, ends[stream])
        parts[number].append(replace(record, partition=stream, beyond=at))
    return parts


class Group:
    """A consumer group with one reader; the test changes `assigned`."""

    patience = 0.0

    def __init__(self, log: Streams, chance: random.Random, story: Story | None) -> None:
        self.log = log
        self.assigned: set[int] = set()
        self.monitor: PartitionGroup | None = None
        self.found: list[Gap] = []
        self._chance = chance
        self._story = story
        self._fetched: dict[int, list[Record]] = {}
        self._next: dict[int, int] = {}

    @property
    def counts(self) -> dict[str, int]:
        return {"labels": len(self.log), "others": len(self.log)}

    def ends(self) -> dict[str, tuple[int, int]]:
        streams = [f"{topic}/{n}" for n in self.log for topic in self.counts]
        found = Counter(record.stream for records in self.log.values() for record in records)
        return {stream: (0, found[stream]) for stream in streams}

    def fetch(self, limit: int) -> None:
        assert self.monitor is not None
        for number in self._next.keys() - self.assigned:
            del self._next[number]
            self._fetched.pop(number, None)
        for number in sorted(self.assigned):
            if not self.monitor.claim(number):
                continue
            if number not in self._next:
                self._next[number] = self._begin(number)
            at = self._next[number]
            records = self.log[number][at : at + self._chance.randrange(limit)]
            # A long step can have left records of the previous fetch.
            self._fetched.setdefault(number, []).extend(records)
            self._next[number] += len(records)
            if self._story is not None:
                self._story.hear(records)

    def _begin(self, number: int) -> int:
        assert self.monitor is not None
        known = self.monitor.positions
        for n, record in enumerate(self.log[number]):
            if known.get(record.stream, Position(TOPIC_EPOCH, 0)) < record.after:
                return n
        return len(self.log[number])

    def part(self, number: int) -> "Part":
        return Part(self, number)

    def take(self, number: int) -> list[Record]:
        return self._fetched.pop(number, [])

    def behind(self, number: int) -> int:
        return len(self.log[number]) - self._next.get(number, 0)


class Part:
    """One partition of the group's reader."""

    patience = 0.0

    def __init__(self, group: Group, number: int) -> None:
        self._group = group
        self._number = number

    @property
    def drained(self) -> bool:
        return not self.behind

    @property
    def behind(self) -> int:
        return self._group.behind(self._number)

    def poll(self, limit: int) -> list[Record]:
        del limit
        return self._group.take(self._number)

    def gaps(self) -> list[Gap]:
        gaps = [gap for gap in self._group.found if gap.stream.endswith(f"/{self._number}")]
        self._group.found = [gap for gap in self._group.found if gap not in gaps]
        return gaps

    def close(self) -> None:
        pass


class GroupMonitor:
    """One of several monitors that share a log."""

    def __init__(
        self,
        where: DatabaseAddress,
        log: Streams,
        chance: random.Random,
        story: Story | None = None,
        name: str = "one",
    ) -> None:
        """`story`: policy changes, made as the monitors read the log."""
        self.database = Database(where, reconnects=False)
        self.reader = Group(log, chance, story)
        policies = ticking(story or History())
        scorers, changes = SharedScorer(FakeScorer()), SharedChanges(policies.changed)
        opened: dict[int, PartScorer] = {}

        def open_partition(division: Division, part: TrackedPart) -> Consumer:
            journal = Journal(self.database, division.number)
            state = ConsumerState(journal, find, policies.timeline, division=division)
            evaluation = Evaluation(journal, state, page="http://page", clock=lambda: 7)
            opened[division.number] = scorer = scorers.open()
            changed = changes.open(division.number)
            return Consumer(journal, state, part, scorer, evaluation, changed_policies=changed)

        def close_partition(number: int) -> None:
            scorers.close(opened.pop(number))
            changes.close(number)

        self.group = PartitionGroup(
            self.database,
            open_partition,
            holder=name,
            close_partition=close_partition,
            clock=iter(range(1 << 40)).__next__,
        )
        self.group.set_reader(self.reader)
        self.reader.monitor = self.group

    def dies(self, after: int = 0) -> None:
        """Die after so many database statements, usually in the middle of a step."""
        with dying(self.database, after) as driver, suppress(SystemExit):
            for _ in range(after):
                self.group.step(20)
        driver.close()


def assign(monitors: Sequence[GroupMonitor]) -> None:
    """Assign the partitions at once, without waiting until a monitor has stopped reading."""
    for monitor in monitors:
        monitor.reader.assigned = set()
    for number in range(len(monitors[0].reader.log)):
        monitors[number % len(monitors)].reader.assigned.add(number)


def drain(monitors: Sequence[GroupMonitor], limit: int = 40) -> None:
    for _ in range(3000):
        progress = [monitor.group.step(limit) for monitor in monitors]
        if not any(progress) and all(
            monitor.group.drained and not monitor.group.scoring
            for monitor in monitors
            if monitor.reader.assigned
        ):
            return
    raise AssertionError("the log was not read to its end")


def contents(where: DatabaseAddress) -> dict[str, list[tuple[object, ...]]]:
    database = Database(where)
    found = {
        table: sorted(database.all(f"SELECT {columns} FROM {table}"), key=repr)
        for table, columns in COMPARED.items()
    }
    database.close()
    return found
