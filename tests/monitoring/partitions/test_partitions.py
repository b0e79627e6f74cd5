"""Monitors that share one database store the same results as a single monitor."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from eventlog import wire
from eventlog.division import partition_of
from eventlog.events import (
    FeedbackEvent,
    FeedbackEventV1,
    PredictionEvent,
    PredictionEventV1,
)
from eventlog.log import Gap, Position, Record
from eventlog.shards import NO_MODEL, shard_of
from monitoring.errors import DatabaseUnavailable, PartitionsChanged
from monitoring.partitions.shared import SharedChanges
from monitoring.storage.database import DatabaseAddress
from monitoring.storage.store import Store
from tests.depth import by_depth
from tests.monitoring.log_in_memory import (
    HOUR,
    STORY,
    T0,
    Log,
    Monitor,
    eight_hours,
    ticking,
)
from tests.monitoring.partitions.group_monitor import (
    MODELS,
    PARTITIONS,
    TOPIC_EPOCH,
    GroupMonitor,
    Models,
    Streams,
    assign,
    contents,
    drain,
    find,
    partitioned,
    sharded,
)
from tests.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def story() -> list[Record]:
    return sharded(eight_hours().records)


def _with_duplicates(records: Sequence[Record]) -> list[Record]:
    """Repeat a tenth of the records a little later."""
    chance, repeated = random.Random(3), list[Record]()
    for record in records:
        repeated.append(record)
        if chance.random() < 0.1:
            repeated.append(chance.choice(repeated[-50:]))
    return repeated


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, story: list[Record]
) -> dict[str, list[tuple[object, ...]]]:
    path = tmp_path_factory.mktemp("alone") / "monitor.db"
    one = GroupMonitor(path, partitioned(story), random.Random(0), Models().known())
    assign([one])
    drain([one], 1000)
    alone = contents(path)
    del alone["positions"]  # the other log repeats a tenth of the records
    return alone


@pytest.mark.parametrize("seed", range(by_depth(2, 6)))
def test_joining_and_dying_monitors_store_the_same_as_a_single_monitor(
    postgres: PostgresServer, story: list[Record], alone: dict[str, Any], seed: int
) -> None:
    chance, where = random.Random(seed), postgres.schema()
    log, changes = partitioned(_with_duplicates(story)), Models()  # with policy changes
    monitors = [GroupMonitor(where, log, chance, changes) for _ in range(chance.randrange(1, 4))]
    for _ in range(12):
        assign(monitors)
        for _ in range(chance.randrange(1, 6)):
            for one in monitors:
                one.group.step(chance.choice([3, 20, 60]))
        if chance.random() < 0.6:
            monitors.pop(chance.randrange(len(monitors))).dies(after=chance.randrange(40))
        while len(monitors) < 1 or (len(monitors) < 3 and chance.random() < 0.5):
            monitors.append(GroupMonitor(where, log, chance, changes))
        chance.shuffle(monitors)
    assign(monitors)
    drain(monitors)
    assert len(changes.changes) == len(STORY)
    assert len(alone["results"]) > 30
    stored = contents(where)
    ends = monitors[0].reader.ends()
    assert {row[0]: row[2] for row in stored.pop("positions")} == {
        stream: end for stream, (_, end) in ends.items() if end
    }
    assert stored == alone
    store = Store(where)
    assert sum(one.lost + one.missing for one in store.ledger()) == 0
    assert sum(one.events + one.heartbeats for one in store.ledger()) == len(story)


def test_partition_belongs_to_one_monitor_until_released(
    postgres: PostgresServer, story: list[Record]
) -> None:
    where = postgres.schema()
    log = partitioned(story[:60])
    one, other = (GroupMonitor(where, log, random.Random(n), name=f"monitor-{n}") for n in range(2))
    one.reader.assigned = {0, 1}
    other.reader.assigned = {0}  # before the first monitor has noticed the loss
    for _ in range(2):
        one.group.step(5)
        other.group.step(5)
    assert other.group.drained is False
    store = Store(where)
    held = [(one.partition, one.holder) for one in store.partitions()]
    assert held == [(0, "monitor-0"), (1, "monitor-0"), (2, ""), (3, "")]
    one.reader.assigned = {1}
    one.group.step(5)
    other.group.step(5)
    held = [(one.partition, one.holder) for one in store.partitions()]
    assert held == [(0, "monitor-1"), (1, "monitor-0"), (2, ""), (3, "")]
    one.dies()
    with pytest.raises(DatabaseUnavailable):
        one.group.step(5)


def test_state_of_an_unpartitioned_log_is_transferred_with_records_in_flight(
    where: DatabaseAddress, story: list[Record], alone: dict[str, Any]
) -> None:
    log = partitioned(story)
    on_the_way = log[partition_of(shard_of("m0"), PARTITIONS)][20:40]
    missing = {record.sequence for record in on_the_way}
    first = [record for part in log.values() for record in part if record.sequence < 300]
    first.sort(key=lambda record: record.sequence)
    before = Monitor(
        where,
        [record for record in first if record.sequence not in missing],
        find=find,
        policies=ticking(Models().known()),
    )
    before.drain()
    behind = {record.stream: min(r.after for r in on_the_way if r.stream == record.stream)
              for record in on_the_way}  # fmt: skip
    with before.database.transaction():
        for stream, at in behind.items():
            before.database.do(
                "UPDATE positions SET sequence = :at WHERE source = :stream",
                at=at.sequence - 1, stream=stream,
            )  # fmt: skip
    before.database.close()
    one = GroupMonitor(where, log, random.Random(1), Models().known())
    assign([one])
    drain([one])
    store = Store(where)
    totals = store.totals()
    assert (totals["handed_over_versions"], totals["handed_over_chains"]) == (6, 6)
    (ledger,) = store.ledger()
    assert (ledger.events + ledger.heartbeats, ledger.lost, ledger.missing) == (len(story), 0, 0)
    assert totals["monitored_events"] + totals["heartbeats"] == len(story)
    assert not any(chain.missing for chain in store.chains())
    newest = {row[:3] for row in contents(where)["results"]}
    assert newest == {row[:3] for row in alone["results"]}


def test_changed_number_of_partitions_is_refused_until_all_records_are_ingested(
    tmp_path: Path, story: list[Record], alone: dict[str, Any]
) -> None:
    where, early, late = tmp_path / "monitor.db", story[:400], story[400:]
    one = GroupMonitor(where, partitioned(early), random.Random(1), Models().known())
    assign([one])
    one.group.step(20)
    wider = GroupMonitor(where, partitioned(early, 7), random.Random(1), Models().known())
    wider.reader.log = _widened(early, [])
    assign([wider])
    with pytest.raises(PartitionsChanged, match=r"records of .*/\d are not ingested; stop the"):
        wider.group.step(20)
    drain([one])
    wider.reader.log = _widened(early, late)
    with pytest.raises(PartitionsChanged, match=r"records of .*/\d were written since|ingested"):
        wider.group.step(20)
    wider.reader.log = _widened(early, [])
    wider.group.step(20)
    wider.reader.log = _widened(early, late)
    drain([wider])
    store = Store(where)
    (ledger,) = store.ledger()
    assert (ledger.events + ledger.heartbeats, ledger.lost, ledger.missing) == (len(story), 0, 0)
    results, expected = contents(where)["results"], alone["results"]
    assert {row[:3] for row in results} == {row[:3] for row in expected}


def _widened(early: Sequence[Record], late: Sequence[Record]) -> Streams:
    """Return four partitions of early records; three were added before the late records."""
    parts = partitioned(early) | {n: [] for n in range(PARTITIONS, 7)}
    ends = Counter(record.stream for part in parts.values() for record in part)
    for number, records in partitioned(late, 7).items():
        for record in records:
            ends[record.stream] += 1
            at = Position(TOPIC_EPOCH, ends[record.stream])
            parts[number].append(replace(record, beyond=at))
    return parts


def test_labels_without_a_shard_in_their_id_join_their_prediction(where: DatabaseAddress) -> None:
    log = Log()
    for n in range(12):
        log.predict(T0 + n, f"p{n}")
    records = sharded(log.records)
    for n, record in enumerate(records[:5]):
        event = record.event
        assert isinstance(event, PredictionEvent)
        label = FeedbackEvent(
            source="s-0", epoch=1, sequence=12 + n, number=n, time=T0, shard=NO_MODEL,
            received=event.received + 60_000_000, prediction_id=event.prediction_id, label=1,
        )  # fmt: skip
        records.append(Record("s-0", 1, 12 + n, label, wire.encode(label)))
    one = GroupMonitor(where, partitioned(records), random.Random(1))
    assign([one])
    one.reader.assigned -= {(elsewhere := partition_of(NO_MODEL, PARTITIONS))}
    for _ in range(20):
        one.group.step(20)
    one.reader.assigned |= {elsewhere}
    for _ in range(30):
        one.group.step(20)
    store = Store(where)
    assert sum(live.labelled for model in MODELS for live in store.live(model, "1")) == 5
    moved = store.totals()["labels_of_other_partitions"]
    assert moved == sum(
        partition_of(shard_of(MODELS[n]), PARTITIONS) != elsewhere for n in range(5)
    )
    assert store.totals()["dead_letters"] == 0


def test_record_in_the_wrong_partition_is_dead_lettered_and_can_be_retried(
    tmp_path: Path,
) -> None:
    log = Log()
    for n in range(6):
        log.predict(T0 + n, f"p{n}")
    parts = partitioned(sharded(log.records))
    strayed = parts[partition_of(shard_of("m0"), PARTITIONS)].pop(0)
    owner = partition_of(shard_of("m0"), PARTITIONS)
    number = (owner + 1) % PARTITIONS
    stream = f"others/{number}"
    parts[number].append(replace(strayed, partition=stream, beyond=Position(TOPIC_EPOCH, 90)))
    one = GroupMonitor(tmp_path / "monitor.db", parts, random.Random(1))
    assign([one])
    drain([one])
    store = Store(tmp_path / "monitor.db")
    (letter,) = store.dead_letters(10)
    assert letter.reason == f"it belongs to partition {owner}"
    assert store.totals()["events_of_other_partitions"] == 1
    assert store.retry(letter.number)
    for _ in range(10):
        one.group.step(20)
    assert store.dead_letters(10) == []
    assert sum(live.rows for model in MODELS for live in store.live(model, "1")) == 6


def test_a_gap_is_skipped_once_in_its_partition(
    where: DatabaseAddress, story: list[Record]
) -> None:
    one = GroupMonitor(where, partitioned(story[:60]), random.Random(2))
    assign([one])
    drain([one])
    (stream, *_) = sorted(one.group.positions)
    one.reader.found = [Gap(stream, Position(TOPIC_EPOCH, 4_000), "overrun", 30)]
    one.group.step(5)
    assert one.reader.found == []
    assert one.group.positions[stream] == Position(TOPIC_EPOCH, 4_000)
    totals = Store(where).totals()
    assert (totals["gap_overrun"], totals["passed_over"]) == (1, 30)


def test_policy_changes_reach_every_open_partition_once() -> None:
    changes = SharedChanges(iter([{"a"}, set(), {"b"}, set(), set()]).__next__)
    first, second = changes.open(1), changes.open(2)
    assert (first(), second(), first(), second()) == ({"a"}, {"a"}, {"b"}, {"b"})
    changes.close(2)
    assert first() == set()


def test_version_1_events_are_transferred_to_the_partition_of_their_model(
    where: DatabaseAddress,
) -> None:
    log = Log()
    for n in range(30):
        log.predict(T0 + n, f"p{n}", model=MODELS[n % len(MODELS)])
        log.tell(f"p{n}", 1, received=T0 + 10_000 * HOUR)
    parts: Streams = {number: [] for number in range(PARTITIONS)}
    for record in log.records:  # version 1 assigned events to partitions by prediction id
        event = record.event
        assert isinstance(event, PredictionEvent | FeedbackEvent)
        kind = PredictionEventV1 if isinstance(event, PredictionEvent) else FeedbackEventV1
        event = kind(**{name: getattr(event, name) for name in event.__struct_fields__})
        number = partition_of(event.prediction_id, PARTITIONS)
        at = Position(TOPIC_EPOCH, len(parts[number]) + 1)
        stored = replace(record, event=event, value=wire.encode(event))
        parts[number].append(replace(stored, partition=f"old/{number}", beyond=at))
    one = GroupMonitor(where, parts, random.Random(1))
    assign([one])
    for _ in range(60):
        one.group.step(40)
    store = Store(where)
    live = [store.live(model, "1")[0] for model in MODELS]
    assert sum(window.rows for window in live) == 30
    assert sum(window.labelled for window in live) == 30
    totals = store.totals()
    assert (totals["monitored_events"], totals["dead_letters"]) == (60, 0)
    assert totals["events_of_version_1"] > 0
    (ledger,) = store.ledger()
    assert (ledger.events, ledger.lost, ledger.missing) == (60, 0, 0)
