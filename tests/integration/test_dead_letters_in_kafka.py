"""Events that a real broker refuses are dead-lettered, and all others are forwarded."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from msgspec.structs import replace

from driftline.ledger import ledger
from eventlog.answer_counts import CountingWriter
from eventlog.events import PredictionEvent, Tensor
from eventlog.forwarder import Cursors, Forwarder
from eventlog.kafka import KafkaSettings, KafkaSink
from eventlog.kafka_reader import KafkaReader
from eventlog.log import Position
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from monitoring.storage.store import Store
from tests.logged_labels import append_label
from tests.monitoring.log_in_memory import T0, Monitor

YEAR_10000 = 253_402_300_800_000_000


def _configure(topics: KafkaSettings, topic: str, **configs: str) -> None:
    admin = KafkaAdminClient(**topics.connection)
    names = {name.replace("_", "."): value for name, value in configs.items()}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, names)])
    admin.close()


def _predict(writer: CountingWriter, cells: int) -> None:
    event = PredictionEvent(
        source=writer.source,
        epoch=writer.epoch,
        sequence=writer.next_sequence,
        time=T0,
        received=T0,
        prediction_id=f"p{writer.next_sequence}",
        model="tiny",
        protocol="rest",
        outcome="ok",
        inputs={"x": Tensor("FP64", [cells], [0.123456789 * n for n in range(cells)])},
    )
    writer.append([event])


def test_a_log_with_many_bad_events_is_forwarded_and_the_ledger_balances(
    topics: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    home = Home(tmp_path)
    topics = replace(topics, compression="none")
    for topic in (topics.feedback, topics.predictions):
        _configure(topics, topic, max_message_bytes="20000")
    writer = CountingWriter.claim(home.log, "host", clock=lambda: 1)
    dead = set()
    for n in range(60):
        if n % 10 == 3:
            dead.add(writer.next_sequence)
            append_label(writer, label="x" * 50_000)  # only the topic finds it too large
        elif n % 10 == 6:
            _predict(writer, 5_000)  # goes without its payload
        elif n % 20 == 9:
            dead.add(writer.next_sequence)
            append_label(writer, time=YEAR_10000)
        elif n == 50:
            dead.add(writer.next_sequence)
            append_label(writer, label="x" * 2_000_000)
        else:
            append_label(writer)
    cursors, sink = Cursors(home.cursors), KafkaSink(topics)
    forwarder = Forwarder(lambda at: SegmentReader(home.log, at), sink, cursors, topics)
    while forwarder.step():
        pass
    assert cursors.positions == {"host-0": Position(1, 60)}
    assert {one.sequence for one in cursors.dead_letters.newest(100)} == dead
    sink.close()
    cursors.close()

    monitor = Monitor(home.monitor, [], follow=lambda at: KafkaReader(topics, "m", at, patience=0))
    monitor.drain()
    monitor.reader.close()
    (book,) = Store(home.monitor).ledger()
    assert (book.events, book.unreadable, book.lost, book.missing) == (60, len(dead), 0, 0)
    result = CliRunner().invoke(ledger)
    (line,) = [line for line in result.output.splitlines() if line.startswith("host-0 ")]
    passed = ["60", "60", str(60 - len(dead)), str(len(dead)), "60"]
    assert line.split()[1:] == passed, result.output
    assert result.exit_code == 0


def test_only_invalid_records_of_a_batch_are_dead_lettered(
    topics: KafkaSettings, tmp_path: Path
) -> None:
    """A topic that takes no time stamps but its own hour's refuses what is stamped otherwise."""
    _configure(
        topics, topics.feedback, message_timestamp_before_max_ms="1", max_message_bytes="20000"
    )
    writer = CountingWriter.claim(tmp_path / "log", "host", clock=lambda: 1)
    for _ in range(3):
        append_label(writer)
    cursors, sink = Cursors(tmp_path / "forwarded.json"), KafkaSink(topics)
    forwarder = Forwarder(lambda at: SegmentReader(tmp_path / "log", at), sink, cursors, topics)
    while forwarder.step():
        pass
    reasons = {one.reason.split(": ")[2] for one in cursors.dead_letters.newest(100)}
    assert reasons == {"InvalidTimestampError"}
    assert cursors.positions == {"host-0": Position(1, 3)}
    sink.close()
    cursors.close()
