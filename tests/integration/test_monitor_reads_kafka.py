"""The monitor on real topics: results as from segments, and every loss counted."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient, TopicPartition
from msgspec.structs import replace

from driftline.ledger import ledger
from driftline.logged_events import logged_events
from eventlog import wire
from eventlog.answer_counts import CountingWriter
from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.kafka import KafkaSettings, KafkaSink, create_topics, message
from eventlog.kafka_reader import KafkaReader
from eventlog.log import Gap, Position, Reader, Record
from eventlog.retention import write_positions
from eventlog.segments import SegmentReader, SegmentWriter
from eventlog.settings import Home
from monitoring.storage.database import Database
from monitoring.storage.store import Store
from tests.monitoring.log_in_memory import HOUR, T0, Log, Monitor, eight_hours, everything

PARTITIONS = 3
_POSITIONS = "SELECT source, epoch, sequence FROM positions"


def _reader(topics: KafkaSettings, positions: dict[str, Position]) -> KafkaReader:
    return KafkaReader(topics, topics.topic_prefix, positions, patience=0)


def _monitor(path: Path, topics: KafkaSettings) -> Monitor:
    monitor = Monitor(path, [], follow=lambda at: KafkaReader(topics, "m", at, patience=0))
    monitor.drain()
    monitor.reader.close()
    return monitor


def _send(topics: KafkaSettings, records: Sequence[Record]) -> None:
    sink = KafkaSink(topics)
    sink.send([message(record, topics) for record in records])
    sink.close()


def _as_received(records: Sequence[Record]) -> list[Record]:
    """The same records as a service writes them: received one after another."""
    received = []
    for n, record in enumerate(records):
        assert not isinstance(record.event, UnreadableEvent)
        event = replace(record.event, received=T0 + 10_000 * HOUR + n)
        received.append(replace(record, event=event, value=wire.encode(event)))
    return received


def _until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < deadline


def _delete_up_to(topics: KafkaSettings, topic: str, offset: int) -> None:
    admin = KafkaAdminClient(**topics.connection)
    admin.delete_records({TopicPartition(topic, 0): offset})
    admin.close()


def _recreate(topics: KafkaSettings) -> None:
    admin = KafkaAdminClient(**topics.connection)
    admin.delete_topics([topics.predictions])
    _until(lambda: topics.predictions not in admin.list_topics())
    admin.close()
    create_topics(topics, partitions=PARTITIONS, replicas=1)


@pytest.fixture
def story() -> list[Record]:
    return _as_received(eight_hours().records)


def test_results_from_kafka_equal_those_from_segments_byte_for_byte(
    topics: KafkaSettings, story: list[Record], tmp_path: Path
) -> None:
    writer = SegmentWriter.claim(tmp_path / "log", "s", clock=lambda: 1)
    written: list[PredictionEvent | FeedbackEvent] = [r.event for r in story]  # type: ignore[misc]
    writer.append(written)
    _send(topics, story[:500])
    _send(topics, story[400:])  # a hundred of them come twice
    local = tmp_path / "segments.db"
    Monitor(local, [], follow=lambda at: SegmentReader(tmp_path / "log", at)).drain()
    _monitor(tmp_path / "kafka.db", topics)
    expected, found = everything(local), everything(tmp_path / "kafka.db")
    assert len(expected["results"]) > 10
    for table in ("results", "alarms", "windows", "totals", "dead_letters"):
        assert found[table] == expected[table]
    (book,) = Store(tmp_path / "kafka.db").ledger()
    seen = book.events + book.heartbeats
    assert (seen, book.duplicated, book.lost) == (len(story), 100, 0)


def test_a_log_is_read_from_kafka_to_its_end_each_event_once(
    topics: KafkaSettings, story: list[Record]
) -> None:
    _send(topics, story[:500])
    _send(topics, story[400:])  # a hundred of them come twice
    assert list(logged_events(topics)) == [record.event for record in story]


def test_a_restarted_monitor_continues_at_its_database_position(
    topics: KafkaSettings, story: list[Record], tmp_path: Path
) -> None:
    path = tmp_path / "monitor.db"
    for begin, end in ((0, 300), (300, 301), (301, len(story))):
        _send(topics, story[begin:end])
        _monitor(path, topics).database.close()
    (book,) = Store(path).ledger()
    seen = book.events + book.heartbeats
    assert (seen, book.duplicated, book.lost) == (len(story), 0, 0)


def test_seven_records_deleted_from_a_topic_are_seven_lost(
    topics: KafkaSettings, tmp_path: Path
) -> None:
    log = Log()
    for n in range(200):
        log.predict(T0 + n, f"p{n}")
    _send(topics, _as_received(log.records))
    _delete_up_to(topics, topics.predictions, 7)
    _monitor(tmp_path / "monitor.db", topics)
    store = Store(tmp_path / "monitor.db")
    (book,) = store.ledger()
    assert (book.events, book.lost, book.missing) == (193, 7, 0)


def test_the_ledger_says_seven_when_seven_are_deleted_from_a_topic(
    topics: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    log = Log()
    for n in range(200):
        log.predict(T0 + n, f"p{n}", shard=f"{n % 8:03x}", number=n // 8)
    records = _as_received(log.records)
    writer = CountingWriter.claim(home.log, "s", clock=lambda: 1)
    writer.append([r.event for r in records])  # type: ignore[misc]
    _send(topics, records)
    write_positions(home.cursors, {"s-0": Position(1, 200)})
    _delete_up_to(topics, topics.predictions, 7)
    _monitor(home.monitor, topics)
    result = CliRunner().invoke(ledger)
    (line,) = [line for line in result.output.splitlines() if line.startswith("s-0 ")]
    assert line.split()[1:] == ["200", "200", "200", "0", "193"]
    assert "s-0: 7 in the log but not monitored" in result.output
    (lost,) = re.findall(r"s-0: 7 lost: (.*)", result.output)
    assert sum(map(int, re.findall(r"(\d+) of shard 00[0-7]", lost))) == 7
    assert result.exit_code == 1


def test_an_overrun_is_a_counted_gap_and_no_silent_jump(
    topics: KafkaSettings, tmp_path: Path
) -> None:
    log, path = Log(), tmp_path / "monitor.db"
    for n in range(100):
        log.predict(T0 + n, f"p{n}")
    records = _as_received(log.records)
    _send(topics, records[:50])
    _monitor(path, topics).database.close()
    stood = {str(s): int(o) for s, _, o in Database(path).all(_POSITIONS)}  # type: ignore[call-overload]
    _send(topics, records[50:])
    _delete_up_to(topics, topics.predictions, stood[f"{topics.predictions}/0"] + 5)
    _monitor(path, topics)
    totals = Store(path).totals()
    assert (totals["gap_overrun"], totals["passed_over"]) == (1, 5)
    (book,) = Store(path).ledger()
    assert (book.events, book.lost) == (95, 5)
    ((origin, reason),) = Database(path).all("SELECT origin, reason FROM dead_letters")
    assert origin == f"{topics.predictions}/0"
    assert "deleted before they were read" in str(reason)


def test_a_recreated_topic_is_reported_and_read_from_its_start(
    topics: KafkaSettings, tmp_path: Path
) -> None:
    log, path = Log(), tmp_path / "monitor.db"
    for n in range(100):
        log.predict(T0 + n, f"p{n}")
    records = _as_received(log.records)
    _send(topics, records[:60])
    _monitor(path, topics).database.close()
    _recreate(topics)
    _send(topics, records[30:])
    _monitor(path, topics).database.close()
    totals = Store(path).totals()
    assert totals["gap_recreated"] == PARTITIONS
    (book,) = Store(path).ledger()
    assert (book.events, book.duplicated, book.lost) == (100, 30, 0)
    _monitor(path, topics)
    assert Store(path).totals()["gap_recreated"] == PARTITIONS  # said once


def test_a_topic_recreated_under_a_reader_is_noticed(topics: KafkaSettings) -> None:
    log = Log()
    for n in range(20):
        log.predict(T0 + n, f"p{n}")
    records = _as_received(log.records)
    positions: dict[str, Position] = {}
    reader = _reader(topics, positions)
    _send(topics, records)
    found: list[Record] = []
    gaps: list[Gap] = []

    def read() -> int:
        for record in reader.poll(100):
            found.append(record)
            positions[record.stream] = record.after
        gaps.extend(reader.gaps())
        return len(found)

    _until(lambda: read() == 20)
    _recreate(topics)
    _send(topics, records)
    _until(lambda: read() == 40)
    assert {gap.reason for gap in gaps} == {"recreated"}
    reader.close()


def test_a_position_behind_the_end_is_a_truncation(topics: KafkaSettings) -> None:
    log = Log()
    log.predict(T0, "p")
    _send(topics, _as_received(log.records))
    seen: dict[str, Position] = {}
    reader = _reader(topics, seen)
    _until(lambda: [seen.update({r.stream: r.after}) for r in reader.poll(10)])
    reader.close()
    ((stream, at),) = seen.items()
    reader = _reader(topics, {stream: Position(at.epoch, 10_000)})
    _until(lambda: reader.poll(10) or reader.drained)
    assert list(reader.gaps()) == [Gap(stream, at, "truncated", 0)]
    reader.close()


def test_foreign_records_are_dead_lettered(topics: KafkaSettings, tmp_path: Path) -> None:
    sink = KafkaSink(topics)
    log = Log()
    log.predict(T0, "p")
    fitting = message(_as_received(log.records)[0], topics)
    sink.send([replace(fitting, value=b"not an event"), fitting])
    sink.close()
    _monitor(tmp_path / "monitor.db", topics)
    store = Store(tmp_path / "monitor.db")
    assert store.totals()["dead_letters"] == 1
    (book,) = store.ledger()
    assert (book.source, book.events, book.lost) == ("s-0", 1, 0)


def test_readers_of_a_group_share_partitions_and_replace_each_other(topics: KafkaSettings) -> None:
    log = Log()
    for n in range(300):
        log.predict(T0 + n, f"p{n}")
        log.tell(f"p{n}", 1)
    records = _as_received(log.records)
    shared: dict[str, Position] = {}  # as monitors with one database would have it
    found: list[tuple[int, Record]] = []
    readers: list[Reader] = [_reader(topics, shared)]

    def read() -> int:
        for number, reader in enumerate(readers):
            for record in reader.poll(50):
                found.append((number, record))
                shared[record.stream] = record.after
        return len({record.sequence for _, record in found})

    _send(topics, records[:200])
    _until(lambda: read() == 200)
    assert readers[0].patience == 0
    readers.append(_reader(topics, shared))
    _until(lambda: [read(), readers[0].patience][1] > 0 and readers[1].drained)
    _send(topics, records[200:400])
    _until(lambda: read() == 400)
    late = [(number, r.event.prediction_id) for number, r in found[200:]]  # type: ignore[union-attr]
    assert {number for number, _ in late} == {0, 1}
    assert len({(number, name) for number, name in late}) == 100  # labels beside predictions
    readers.pop().close()
    _send(topics, records[400:])
    _until(lambda: read() == 600)
    assert len(found) == 600
    _until(lambda: [read(), readers[0].patience][1] == 0)
    readers[0].close()


def test_an_empty_reassigned_partition_does_not_block_the_reader(
    topics: KafkaSettings, story: list[Record]
) -> None:
    _send(topics, story[:50])
    positions: dict[str, Position] = {}
    reader = _reader(topics, positions)

    def read(records: int) -> None:
        while records > 0:
            for record in reader.poll(100):
                positions[record.stream] = record.after
                records -= 1

    try:
        read(50)
        _until(lambda: reader.poll(1) or reader.drained)
        # As in a rebalance between two fetches: the broker hears of no change.
        client = reader._consumer  # noqa: SLF001  # what the group does to it
        assigned = sorted(client.assignment())
        client._subscription.assign_from_subscribed([])  # noqa: SLF001
        client._subscription.assign_from_subscribed(assigned)  # noqa: SLF001
        reader._listener.on_partitions_assigned(assigned)  # noqa: SLF001
        _send(topics, story[50:100])
        read(50)
        empty = [place for place in assigned if place.topic == topics.dead_letters]
        assert None in {client.highwater(place) for place in empty}
        assert reader.drained
    finally:
        reader.close()


def test_a_reader_without_positions_starts_at_the_oldest_record(
    topics: KafkaSettings,
) -> None:
    log = Log()
    for n in range(20):
        log.predict(T0 + n, f"p{n}")
    _send(topics, _as_received(log.records))
    for _ in range(2):
        reader, found = _reader(topics, {}), []
        _until(
            lambda reader=reader, found=found: [found.extend(reader.poll(100)), len(found)][1] == 20
        )
        reader.close()
        assert [record.sequence for record in found] == list(range(20))


def test_a_backlog_larger_than_the_buffer_is_read_completely(
    topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlog.kafka_reader.MAX_BUFFERED", 20)
    log = Log()
    for n in range(3000):
        log.predict(T0 + n, f"p{n}")
    _send(topics, _as_received(log.records))
    reader = _reader(topics, {})
    found: list[int] = []
    _until(lambda: [found.extend(r.sequence for r in reader.poll(70)), len(found)][1] == 3000)
    assert found == list(range(3000))
    reader.close()
