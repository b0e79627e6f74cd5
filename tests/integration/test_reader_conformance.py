"""Every reader fulfils the contract of eventlog/log.py."""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from msgspec.structs import replace

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent
from eventlog.kafka import KafkaSettings, KafkaSink, message
from eventlog.kafka_reader import KafkaReader
from eventlog.layout import segments
from eventlog.log import Position, Positions, Reader, Record
from eventlog.segments import SegmentReader, SegmentWriter
from tests.monitoring.log_in_memory import FakeReader

Place = tuple[str, int, int]  # source, epoch, sequence


def _place(record: Record) -> Place:
    return record.source, record.epoch, record.sequence


def _label(source: str, sequence: int, received: int) -> Record:
    event = FeedbackEvent(
        source=source,
        epoch=1,
        sequence=sequence,
        time=received,
        received=received,
        prediction_id=f"{source}/{sequence}",
        label=1,
    )
    return Record(source, 1, sequence, event, wire.encode(event))


class Kind(ABC):
    """One kind of log: how it is written, how it is read."""

    @abstractmethod
    def write(self, records: Sequence[Record]) -> None: ...

    @abstractmethod
    def open(self, positions: Positions) -> Reader: ...

    @abstractmethod
    def damage(self, record: Record) -> None:
        """Write a record that cannot be read."""


class InMemory(Kind):
    def __init__(self) -> None:
        self._records: list[Record] = []

    def write(self, records: Sequence[Record]) -> None:
        self._records += records

    def open(self, positions: Positions) -> Reader:
        return FakeReader(self._records, positions, random.Random(1))

    def damage(self, record: Record) -> None:
        self._records.append(replace(record, event=UnreadableEvent("damaged")))


class InSegments(Kind):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers = [SegmentWriter.claim(folder, "x", clock=lambda: 1) for _ in range(2)]

    def write(self, records: Sequence[Record]) -> None:
        for writer in self._writers:
            own = [r.event for r in records if r.source == writer.source]
            writer.append([event for event in own if isinstance(event, FeedbackEvent)])

    def open(self, positions: Positions) -> Reader:
        return SegmentReader(self._folder, positions)

    def damage(self, record: Record) -> None:
        path = segments(self._folder / record.source)[-1].path
        intact = path.stat().st_size
        self.write([record])
        data = bytearray(path.read_bytes())
        data[intact + 70] ^= 1
        path.write_bytes(data)


class InTopics(Kind):
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._sink = KafkaSink(settings)

    def write(self, records: Sequence[Record]) -> None:
        self._sink.send([message(record, self._settings) for record in records])

    def open(self, positions: Positions) -> Reader:
        return KafkaReader(self._settings, self._settings.topic_prefix, positions, patience=1)

    def damage(self, record: Record) -> None:
        self.write([replace(record, event=UnreadableEvent("damaged"))])


@pytest.fixture(params=["memory", "segments", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    if request.param == "memory":
        return InMemory()
    if request.param == "segments":
        return InSegments(tmp_path / "log")
    return InTopics(request.getfixturevalue("topics"))


def _both(count: int, start: int = 0) -> list[Record]:
    """So many of each of two sources, in the order of their reception."""
    return [
        _label(f"x-{source}", n, 1000 + 2 * n + source)
        for n in range(start, start + count)
        for source in (0, 1)
    ]


def _drain(reader: Reader, limit: int = 100) -> list[Record]:
    records: list[Record] = []
    deadline = time.monotonic() + 180
    while True:
        assert time.monotonic() < deadline
        batch = reader.poll(limit)
        assert len(batch) <= limit
        records += batch
        if reader.drained and not batch:
            return records


def _drain_until(reader: Reader, awaited: Sequence[Record]) -> set[Place]:
    """Drain until these records came: a reader may count as drained until it hears of a write."""
    places = {_place(record) for record in awaited}
    found: set[Place] = set()
    deadline = time.monotonic() + 180
    while not found >= places:
        assert time.monotonic() < deadline, f"never came: {places - found}"
        found |= set(_first_time(_drain(reader)))
    return found


def _first_time(records: Sequence[Record]) -> list[Place]:
    return list(dict.fromkeys(_place(record) for record in records))


def test_a_reader_follows_while_the_log_is_written(log: Kind) -> None:
    reader = log.open({})
    assert _drain(reader) == []
    log.write(_both(5))
    assert _drain_until(reader, _both(5)) == {_place(r) for r in _both(5)}
    log.write(_both(5, start=5))
    assert _drain_until(reader, _both(5, start=5)) <= {_place(r) for r in _both(10)}
    assert list(reader.gaps()) == []
    reader.close()


def test_streams_are_merged_by_the_time_of_reception(log: Kind) -> None:
    log.write(_both(300))
    reader = log.open({})
    assert _first_time(_drain(reader, limit=37)) == [_place(record) for record in _both(300)]
    reader.close()


def test_a_record_has_its_event_and_its_bytes(log: Kind) -> None:
    log.write(_both(1))
    reader = log.open({})
    found = _drain(reader)
    assert {_place(r): (r.event, r.value) for r in found} == {
        _place(r): (r.event, r.value) for r in _both(1)
    }
    reader.close()


def test_a_partition_reassigned_during_positioning_is_read(
    topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    InTopics(topics).write(_both(20))
    seek, placed = KafkaConsumer.seek, list[Any]()

    def rebalance_after_seek(consumer: Any, place: Any, offset: int) -> None:
        """Do what the client's thread may do at any moment: assign nothing, and then the same."""
        seek(consumer, place, offset)
        placed.append(place)
        if len(placed) == 1:
            subscription, places = consumer._subscription, consumer.assignment()  # noqa: SLF001
            for assigned in (set(), places):
                subscription.assign_from_subscribed(assigned)
                subscription.rebalance_listener.on_partitions_assigned(assigned)

    monkeypatch.setattr(KafkaConsumer, "seek", rebalance_after_seek)
    reader = KafkaReader(topics, topics.topic_prefix, {}, patience=1)
    assert _drain_until(reader, _both(20)) == {_place(record) for record in _both(20)}
    assert placed.count(placed[0]) == 2  # else the client has no position of it
    reader.close()


def test_a_reader_continues_at_the_stored_positions(log: Kind) -> None:
    chance = random.Random(3)
    log.write(_both(200))
    positions: dict[str, Position] = {}
    taken: list[Place] = []
    while len(set(taken)) < 400:
        reader = log.open(dict(positions))
        deadline, wanted = time.monotonic() + 180, len(taken) + chance.randrange(1, 200)
        while len(taken) < wanted and not reader.drained:
            assert time.monotonic() < deadline
            for record in reader.poll(chance.randrange(1, 100)):
                taken.append(_place(record))
                positions[record.stream] = max(
                    positions.get(record.stream, Position(0, 0)), record.after
                )
        reader.close()
    if not isinstance(log, InMemory):  # which repeats on purpose
        assert len(taken) == 400
    reader = log.open(positions)
    assert set(_first_time(_drain(reader))) <= set(taken)
    reader.close()


def test_an_unreadable_record_is_reported(log: Kind) -> None:
    before, damaged, after = (_label("x-0", n, 1000 + n) for n in range(3))
    log.write([before])
    log.damage(damaged)
    log.write([after])
    reader = log.open({})
    found = {_place(record): record.event for record in _drain(reader)}
    assert set(found) == {_place(before), _place(damaged), _place(after)}
    assert isinstance(found[_place(damaged)], UnreadableEvent)
    reader.close()
