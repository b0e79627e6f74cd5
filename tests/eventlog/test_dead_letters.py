"""Records that Kafka refuses, on a sink that refuses them like a broker."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventlog.dead_letters import DeadLetters, UnforwardedRecord
from eventlog.errors import NotAcknowledged
from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor
from eventlog.forwarder import Cursors, Forwarder
from eventlog.kafka import KafkaSettings
from eventlog.log import Position
from eventlog.segments import SegmentReader, SegmentWriter
from tests.eventlog.fake_kafka import FakeKafka

SETTINGS = KafkaSettings(largest_message=1_000)
YEAR_10000 = 253_402_300_800_000_000


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
def writer(tmp_path: Path) -> SegmentWriter:
    return SegmentWriter.claim(tmp_path / "log", "host")


def label(writer: SegmentWriter, value: Any = 1, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "source": writer.source,
        "epoch": writer.epoch,
        "sequence": writer.next_sequence,
        "time": 1_372_636_800_000_000,
        "received": 1_372_636_800_000_000,
        "prediction_id": f"p{writer.next_sequence}",
        "label": value,
    }
    event = FeedbackEvent(**(fields | changes))
    writer.append([event])
    return event


def prediction(writer: SegmentWriter, cells: int) -> None:
    writer.append(
        [
            PredictionEvent(
                source=writer.source,
                epoch=writer.epoch,
                sequence=writer.next_sequence,
                time=1,
                received=1,
                prediction_id=f"p{writer.next_sequence}",
                model="flights",
                protocol="rest",
                outcome="ok",
                inputs={"x": Tensor("FP64", [cells], [0.5] * cells)},
            )
        ]
    )


class Forwarding:
    """A forwarder of the log below a folder, that is drained, or killed before it moves on."""

    def __init__(self, home: Path, kafka: FakeKafka) -> None:
        self.cursors = Cursors(home / "forwarded.json")
        self.letters = self.cursors.dead_letters
        self.counted = 0
        self._forwarder = Forwarder(
            lambda at: SegmentReader(home / "log", at),
            kafka,
            self.cursors,
            SETTINGS,
            dead_lettered=self._count,
        )

    def drain(self) -> None:
        while self._forwarder.step():
            pass

    def close(self) -> None:
        self.cursors.close()

    def _count(self, number: int) -> None:
        self.counted += number


def stored(letters: DeadLetters) -> list[tuple[int, str]]:
    return sorted((one.sequence, one.reason) for one in letters.newest(1_000))


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        ({"time": YEAR_10000}, "OverflowError"),
        ({"time": -(2**62)}, "OverflowError"),
        ({"value": "x" * 2_000}, "without its payload; expected at most 1000"),
        ({"prediction_id": "x" * 2_000}, "expected at most 1000"),
    ],
)
def test_an_event_that_cannot_be_forwarded_is_dead_lettered_and_the_next_ones_follow(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path, poison: dict[str, Any], reason: str
) -> None:
    label(writer)
    bad = label(writer, **poison)
    label(writer)
    forwarding = Forwarding(tmp_path, kafka)
    forwarding.drain()
    assert kafka.sequences(SETTINGS.feedback) == [0, 2]
    assert forwarding.cursors.positions == {"host-0": Position(writer.epoch, 3)}
    (message,) = (one for one in kafka.held if one.topic == SETTINGS.dead_letters)
    letter = msgspec.json.decode(message.value)
    assert (letter["source"], letter["epoch"], letter["sequence"]) == ("host-0", writer.epoch, 1)
    assert letter["received"] == bad.received
    assert reason in letter["reason"]
    found = forwarding.letters.find("host-0", writer.epoch, 1)
    assert found is not None
    assert reason in found.reason
    assert msgspec.json.decode(found.record or b"", type=FeedbackEvent) == bad
    assert forwarding.counted == 1


def test_the_last_microsecond_of_the_year_9999_is_forwarded(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path
) -> None:
    label(writer, time=YEAR_10000 - 1)
    Forwarding(tmp_path, kafka).drain()
    (message,) = kafka.held
    assert dict(message.headers)["ce_time"] == b"9999-12-31T23:59:59.999999+00:00"


def test_bytes_that_are_not_an_event_are_dead_lettered_unchanged(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path
) -> None:
    label(writer)
    path = next((tmp_path / "log" / "host-0").glob("*.log"))
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    writer.close()
    label(SegmentWriter.claim(tmp_path / "log", "host"))
    forwarding = Forwarding(tmp_path, kafka)
    forwarding.drain()
    assert kafka.sequences(SETTINGS.dead_letters) == [0]
    assert [sequence for sequence, _ in stored(forwarding.letters)] == [0]
    assert kafka.sequences(SETTINGS.feedback) == [0]


def test_only_the_record_that_kafka_refuses_is_dead_lettered(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path
) -> None:
    for _ in range(300):
        label(writer)
    bad = {0, 17, 18, 299}
    kafka.invalid = lambda message: message.key in {b"p%d" % n for n in bad}
    forwarding = Forwarding(tmp_path, kafka)
    forwarding.drain()
    assert sorted(kafka.sequences(SETTINGS.feedback)) == sorted(set(range(300)) - bad)
    assert sorted(kafka.sequences(SETTINGS.dead_letters)) == sorted(bad)
    assert stored(forwarding.letters) == [(n, "invalid") for n in sorted(bad)]
    assert forwarding.counted == 4


def test_a_too_large_prediction_is_forwarded_without_its_payload(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path
) -> None:
    for cells in (1, 150, 1):
        prediction(writer, cells)
    label(writer, "x" * 500)
    kafka.largest = 400
    forwarding = Forwarding(tmp_path, kafka)
    forwarding.drain()
    predictions = [one for one in kafka.held if one.topic == SETTINGS.predictions]
    values = {one.key: msgspec.json.decode(one.value) for one in predictions}
    assert values.keys() == {b"p0", b"p1", b"p2"}
    assert values[b"p1"]["payload"] == "digest"
    assert values[b"p0"].get("payload") is None
    assert stored(forwarding.letters) == [(3, "too large for the topic")]


def test_a_dead_letter_that_kafka_refuses_is_stored_on_disk(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path
) -> None:
    label(writer, time=YEAR_10000)
    label(writer)
    kafka.invalid = lambda message: message.topic == SETTINGS.dead_letters
    forwarding = Forwarding(tmp_path, kafka)
    forwarding.drain()
    assert kafka.sequences(SETTINGS.feedback) == [1]
    assert [sequence for sequence, _ in stored(forwarding.letters)] == [0]


def test_a_forwarder_killed_between_letter_and_cursor_counts_the_letter_once(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(writer)
    label(writer, time=YEAR_10000)
    killed = Forwarding(tmp_path, kafka)

    def die(_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(killed.cursors, "advance", die)
    with pytest.raises(SystemExit):
        killed.drain()
    killed.close()
    assert (killed.counted, len(stored(killed.letters))) == (1, 1)
    again = Forwarding(tmp_path, kafka)
    again.drain()
    assert again.cursors.positions == {"host-0": Position(writer.epoch, 2)}
    assert (again.counted, len(stored(again.letters))) == (0, 1)


def test_no_cursor_passes_a_record_whose_dead_letter_cannot_be_stored(
    writer: SegmentWriter, kafka: FakeKafka, tmp_path: Path
) -> None:
    label(writer, time=YEAR_10000)
    label(writer)
    forwarding = Forwarding(tmp_path, kafka)
    path = tmp_path / "forwarded.deadletters.db"
    path.mkdir()
    with pytest.raises(NotAcknowledged, match="cannot store dead letters"):
        forwarding.drain()
    assert not forwarding.cursors.positions
    path.rmdir()
    forwarding.drain()
    assert forwarding.cursors.positions == {"host-0": Position(writer.epoch, 2)}


def _letters(count: int, size: int) -> list[UnforwardedRecord]:
    return [UnforwardedRecord("s", 1, n, "r", 5, size, b"x" * size) for n in range(count)]


def test_the_file_is_bounded_and_the_oldest_letters_are_deleted_first(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "letters.db", most_letters=5, most_bytes=25)
    assert letters.add(_letters(8, 10)) == 8
    assert [one.sequence for one in letters.newest(10)] == [7, 6, 5, 4, 3]
    bodies = [found.record for n in (7, 6, 5) if (found := letters.find("s", 1, n))]
    assert bodies == [b"x" * 10, b"x" * 10, None]
    assert letters.find("s", 1, 0) is None
    assert letters.origins().keys() == {("s", 1, n) for n in range(3, 8)}


def test_the_file_is_private_and_unreadable_letters_are_reported(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "letters.db")
    assert letters.newest(1) == []
    letters.add(_letters(1, 1))
    assert (tmp_path / "letters.db").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "letters.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_under_the_cursor_is_retried_and_sends_nothing_twice(
    tmp_path: Path, writer: SegmentWriter, kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    label(writer)
    forwarding = Forwarding(tmp_path, kafka)
    with monkeypatch.context() as patch:
        patch.setattr("eventlog.forwarder.write_positions", full)
        with pytest.raises(NotAcknowledged, match="No space left on device"):
            forwarding.drain()
    forwarding.drain()
    assert len(kafka.held) == 1
    assert (tmp_path / "forwarded.json").exists()
