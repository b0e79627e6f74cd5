"""The forwarder with a real broker: every event is forwarded, whatever happens."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewPartitions

from eventlog import wire
from eventlog.errors import NotAcknowledged
from eventlog.events import FeedbackEvent, HeartbeatEvent, PredictionEvent, Tensor
from eventlog.forwarder import Cursors, Forwarder
from eventlog.kafka import KafkaSettings, KafkaSink, TopicChanges, create_topics
from eventlog.kafka_reader import KafkaReader
from eventlog.kafka_topics import partition_counts
from eventlog.log import Position
from eventlog.segments import SegmentReader, SegmentWriter
from eventlog.shards import shard_of
from eventlog.stamps import Stamps
from tests.small_disk import fill, mounted


@pytest.fixture
def settings(broker: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=broker.bootstrap, acknowledge_within=3)


@pytest.fixture
def writer(tmp_path: Path) -> SegmentWriter:
    return SegmentWriter.claim(tmp_path / "log", "host", clock=lambda: 1)


class Forwarding:
    """A forwarder at work in a thread."""

    def __init__(self, home: Path, settings: KafkaSettings) -> None:
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._cursors = Cursors(home / "forwarded.json")
        self._sink = KafkaSink(settings)
        forwarder = Forwarder(
            lambda at: SegmentReader(home / "log", at), self._sink, self._cursors, settings
        )
        self._thread = threading.Thread(
            target=forwarder.run, args=(self._stop.wait, self._failed, 0.01), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._sink.close()
        self._cursors.close()

    def until(self, sequence: int) -> None:
        deadline = time.monotonic() + 180
        while self._cursors.positions.get("host-0", Position(0, 0)) < Position(1, sequence):
            assert time.monotonic() < deadline, f"not forwarded; errors: {self.errors}"
            time.sleep(0.02)

    def until_failed(self) -> int:
        """Wait for the next failed try; returns how many failed before."""
        deadline, before = time.monotonic() + 180, len(self.errors)
        while len(self.errors) == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return before

    def _failed(self, error: NotAcknowledged, _pause: float) -> None:
        self.errors.append(str(error))


@pytest.fixture
def running(tmp_path: Path, settings: KafkaSettings) -> Iterator[Forwarding]:
    forwarder = Forwarding(tmp_path, settings)
    yield forwarder
    forwarder.stop()


def _predict(writer: SegmentWriter, count: int, *, cells: int = 1) -> None:
    first, stamps = writer.next_sequence, Stamps(writer)
    writer.append(
        [
            PredictionEvent(
                source=writer.source,
                epoch=writer.epoch,
                time=1,
                received=2,
                prediction_id=f"p{first + n}",
                model=model,
                protocol="rest",
                outcome="ok",
                inputs={"x": Tensor("FP64", [cells], [0.123456789] * cells)},
                **stamps.take(shard_of(model))._asdict(),
            )
            for n in range(count)
            for model in [f"model {(first + n) % 20}"]
        ]
    )


def _predict_raw(writer: SegmentWriter, contents: bytes) -> None:
    """Append an event whose tensor is in the raw part of its record."""
    held: Any = memoryview(contents)
    writer.append(
        [
            PredictionEvent(
                source=writer.source,
                epoch=writer.epoch,
                time=1,
                received=2,
                prediction_id="raw",
                model="photos",
                protocol="rest",
                outcome="ok",
                inputs={"x": Tensor("UINT8", [len(contents)], [], held)},
                **Stamps(writer).take(shard_of("photos"))._asdict(),
            )
        ]
    )


def topic_records(settings: KafkaSettings, topic: str) -> list[Any]:
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap_servers)
    places = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic))]
    ends = consumer.end_offsets(places)
    consumer.assign(places)
    consumer.seek_to_beginning()
    records: list[Any] = []
    deadline = time.monotonic() + 180
    while any(consumer.position(place) < end for place, end in ends.items()):
        assert time.monotonic() < deadline
        for batch in consumer.poll(500).values():
            records.extend(batch)
    consumer.close()
    return records


def sequences_of(records: list[Any]) -> list[int]:
    return [msgspec.json.decode(record.value)["sequence"] for record in records]


def test_every_event_arrives_readable_keyed_and_with_cloudevents_headers(
    own_topics: KafkaSettings, writer: SegmentWriter, tmp_path: Path
) -> None:
    settings = own_topics
    assert {*partition_counts(settings, timeout_s=30).values()} == {0}
    assert len(create_topics(settings, partitions=4, replicas=1).created) == 5
    assert create_topics(settings, partitions=4, replicas=1) == TopicChanges([], [])
    differing = msgspec.structs.replace(settings, largest_message=2_000_000)
    assert create_topics(differing, partitions=5, replicas=1) == TopicChanges(
        [],
        [
            line
            for topic in [*settings.keyed_topics[:-1], settings.alarms, settings.dead_letters]
            for line in (
                f"{topic}: partitions is 4, expected 5",
                f"{topic}: max.message.bytes is 1065536, expected 2065536",
            )
            if not line.startswith(f"{settings.alarms}: partitions")
        ],
    )
    _predict(writer, 1000)
    _predict(writer, 1, cells=200_000)
    stamps, shard = Stamps(writer), shard_of("model 7")
    place: dict[str, Any] = {
        "source": writer.source,
        "epoch": writer.epoch,
        "time": 3,
        "received": 4,
    }
    label = FeedbackEvent(
        **place, prediction_id="p7", label=1, verified=True, **stamps.take(shard)._asdict()
    )
    beat = HeartbeatEvent(**place, **stamps.take(shard)._asdict())
    writer.append([label, beat])
    _predict_raw(writer, b"\0\xff" * 5_000)
    running = Forwarding(tmp_path, settings)
    running.until(1004)
    running.stop()

    predictions = topic_records(settings, settings.predictions)
    assert sorted(sequences_of(predictions)) == [*range(1001), 1003]
    assert len({record.partition for record in predictions}) == 4
    for partition in range(4):
        own = sequences_of([record for record in predictions if record.partition == partition])
        assert own == sorted(own)
    (place_of_seven,) = {r.partition for r in predictions if r.key == shard.encode()}
    named = {msgspec.json.decode(record.value)["prediction_id"]: record for record in predictions}
    assert dict(named["p7"].headers)["ce_id"] == b"host-0:1:7"
    large = msgspec.json.decode(named["p1000"].value)
    assert large["payload"] == "digest"
    assert large["payload_bytes"] > 2_000_000
    assert "inputs" not in large
    raw = named["raw"]
    event = wire.decode(raw.value, dict(raw.headers)[wire.RAW])
    assert isinstance(event, PredictionEvent)
    assert event.inputs["x"].values() == [0, 255] * 5_000
    for topic in (settings.feedback, settings.heartbeats):
        (record,) = topic_records(settings, topic)
        assert (record.key, record.partition) == (shard.encode(), place_of_seven)


def test_topics_with_unequal_partitions_are_refused_with_the_reason(
    own_topics: KafkaSettings,
    writer: SegmentWriter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = own_topics
    create_topics(settings, partitions=2, replicas=1)
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    admin.create_partitions({settings.feedback: NewPartitions(3)})
    _until_partitions(settings, settings.feedback, 3)
    _predict(writer, 1)
    running = Forwarding(tmp_path, settings)
    running.until_failed()
    assert f"{settings.predictions} has 2, {settings.feedback} has 3" in running.errors[0]
    found = partition_counts(settings, timeout_s=30)
    assert [found[topic] for topic in settings.keyed_topics] == [2, 3, 2, 2]
    reader = KafkaReader(settings, "group", {}, 0)
    deadline = time.monotonic() + 60
    while "expected the same number for all" not in caplog.text:
        assert time.monotonic() < deadline
        reader.poll(10)
    reader.close()
    for topic in (settings.predictions, settings.heartbeats, settings.dead_letters):
        admin.create_partitions({topic: NewPartitions(3)})
    admin.close()
    running.until(1)
    running.stop()


def _until_partitions(settings: KafkaSettings, topic: str, count: int) -> None:
    """Wait until the broker states a changed number of partitions, as it does after a while."""
    deadline = time.monotonic() + 60
    while partition_counts(settings, timeout_s=30)[topic] != count:
        assert time.monotonic() < deadline


def test_an_absent_killed_or_frozen_broker_delays_but_loses_no_event(
    broker: Any, settings: KafkaSettings, writer: SegmentWriter, running: Forwarding
) -> None:
    _predict(writer, 100)
    broker.start()
    create_topics(settings, partitions=2, replicas=1)
    running.until(100)

    broker.kill()
    for _ in range(50):
        _predict(writer, 20)
    broker.start()
    running.until(1100)

    broker.freeze()
    _predict(writer, 100)
    before = running.until_failed()
    broker.thaw()
    running.until(1200)
    tries = len(running.errors) - before + 1

    sequences = sequences_of(topic_records(settings, settings.predictions))
    assert sorted(set(sequences)) == list(range(1200))
    # Each try's records wait in the frozen broker's socket and are ingested when it resumes.
    assert len(sequences) - 1200 <= 100 * tries


def test_a_full_broker_disk_delays_but_loses_no_event(
    broker: Any, settings: KafkaSettings, writer: SegmentWriter, running: Forwarding, tmp_path: Path
) -> None:
    with mounted(tmp_path / "small", 256 << 20) as small:
        stated = broker.properties.read_text()
        broker.properties.write_text(stated.replace(str(broker.data), str(small / "data")))
        broker.data = small / "data"
        broker.start()
        create_topics(settings, partitions=2, replicas=1)
        _predict(writer, 100)
        running.until(100)

        ballast = fill(small)
        deadline = time.monotonic() + 180
        before = len(running.errors)
        while len(running.errors) == before:
            assert time.monotonic() < deadline
            _predict(writer, 50)  # until a segment of the topic must grow
            time.sleep(0.05)
        ballast.unlink()
        broker.stop()
        broker.start()
        written = writer.next_sequence
        running.until(written)
        assert set(sequences_of(topic_records(settings, settings.predictions))) == set(
            range(written)
        )


def test_a_restarted_forwarder_continues_at_its_cursor(
    own_topics: KafkaSettings, writer: SegmentWriter, tmp_path: Path
) -> None:
    settings = own_topics
    create_topics(settings, partitions=1, replicas=1)
    for end in (300, 600):
        _predict(writer, 300)
        running = Forwarding(tmp_path, settings)
        running.until(end)
        running.stop()
    assert sequences_of(topic_records(settings, settings.predictions)) == list(range(600))


def test_all_segments_are_sent_again_to_a_recreatedtopic_records(
    broker: Any, settings: KafkaSettings, writer: SegmentWriter, running: Forwarding
) -> None:
    broker.start()
    create_topics(settings, partitions=2, replicas=1)
    _predict(writer, 300)
    running.until(300)
    broker.kill()
    broker.wipe()
    broker.start()
    create_topics(settings, partitions=2, replicas=1)
    deadline = time.monotonic() + 180
    while set(sequences_of(topic_records(settings, settings.predictions))) != set(range(300)):
        assert time.monotonic() < deadline, running.errors
    _predict(writer, 10)
    running.until(310)
    assert set(sequences_of(topic_records(settings, settings.predictions))) == set(range(310))
