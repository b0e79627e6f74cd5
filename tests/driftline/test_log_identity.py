"""No event is mistaken for another if a log is removed, restored, or shares a host's name."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from driftline.ledger import ledger
from eventlog.answer_counts import MINUTE, CountingWriter
from eventlog.events import FeedbackEvent
from eventlog.forwarder import Cursors, Forwarder
from eventlog.identity import log_identity, writer_name
from eventlog.kafka import KafkaSettings
from eventlog.log import Record
from eventlog.segments import SegmentReader, end_earlier_sources
from eventlog.settings import Home
from eventlog.wire import decode
from monitoring.storage.store import Store
from telemetry.clock import now_us
from tests.eventlog.event_makers import read_all
from tests.eventlog.fake_kafka import FakeKafka
from tests.monitoring.log_in_memory import T0, Monitor

OLD_HOME = Path(__file__).parent / "home_without_identity"  # written by release 0.2
SETTINGS = KafkaSettings()


class Site:
    """One home: a serving worker, a forwarder and a monitor, each of which may be restarted."""

    def __init__(self, root: Path, kafka: FakeKafka, names: Iterator[int]) -> None:
        self.home = Home(root)
        self.kafka = kafka
        self.answered: list[str] = []
        self.names = names
        self._clock: Callable[[], int] = now_us
        self._stop: list[Callable[[], None]] = []

    def serve(self, clock: Callable[[], int] = now_us) -> None:
        """Start the worker as the service does."""
        name = writer_name(self.home.log, "host")
        end_earlier_sources(self.home.log, "host")
        self.writer = CountingWriter.claim(self.home.log, name, clock=clock)

    def answer(self, count: int) -> None:
        for _ in range(count):
            name = f"answer-{next(self.names)}"
            event = FeedbackEvent(
                source=self.writer.source,
                epoch=self.writer.epoch,
                sequence=self.writer.next_sequence,
                time=T0,
                received=T0 + 10 * MINUTE,
                prediction_id=name,
                label=1,
            )
            self.writer.append([event])
            self.answered.append(name)

    def watch(self) -> None:
        """Start forwarder and monitor; they read on until `unwatch`."""
        cursors = Cursors(self.home.cursors)
        log = self.home.log
        self.forwarder = Forwarder(lambda at: SegmentReader(log, at), self.kafka, cursors, SETTINGS)
        self.monitor = Monitor(self.home.monitor, [], follow=lambda at: SegmentReader(log, at))
        self.cursors = cursors
        self._stop = [cursors.close, self.monitor.database.close]

    def catch_up(self) -> None:
        while self.forwarder.step():
            pass
        self.monitor.drain()

    def unwatch(self) -> None:
        for stop in self._stop:
            stop()

    def restart_watching(self) -> None:
        self.watch()
        self.catch_up()
        self.unwatch()

    def ledger(self) -> Result:
        return CliRunner().invoke(ledger, env={"DRIFTLINE_HOME": str(self.home.root)})

    def monitored(self) -> int:
        store = Store(self.home.monitor)
        try:
            return sum(one.events for one in store.ledger())
        finally:
            store.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home", FakeKafka(), iter(range(1_000_000)))


def _forwarded(kafka: FakeKafka) -> dict[str, str]:
    """Prediction id by event id, as a consumer sees them that drops repeated ids."""
    return {dict(one.headers)["ce_id"].decode(): one.key.decode() for one in kafka.held}


def _assert_everything_arrived(site: Site) -> None:
    arrived = _forwarded(site.kafka)
    assert sorted(arrived.values()) == sorted(site.answered)
    assert site.monitored() == len(site.answered)


@pytest.mark.parametrize("running", [True, False])
def test_events_written_after_the_log_was_removed_are_forwarded(
    site: Site, running: bool, caplog: pytest.LogCaptureFixture
) -> None:
    site.serve()
    site.answer(20)
    site.watch()
    site.catch_up()
    before = site.writer.source
    site.writer.close()
    if not running:
        site.unwatch()
    shutil.rmtree(site.home.log)
    if running:
        site.catch_up()
    site.serve()
    site.answer(15)
    if not running:
        site.watch()
    site.catch_up()
    site.unwatch()
    assert site.writer.source != before
    _assert_everything_arrived(site)
    assert f"{before}: its folder is no longer in the log" in caplog.text
    found = site.ledger()
    assert f"{before}: its folder was removed from the log" in found.output
    assert found.exit_code == 0


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_events_written_after_an_older_copy_was_restored_are_forwarded(
    site: Site, tmp_path: Path, restarts: int, running: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The copy is of the same start of the worker, or of an earlier one."""
    site.serve()
    site.answer(10)
    shutil.copytree(site.home.log, tmp_path / "copy")
    for _ in range(restarts):
        site.writer.close()
        site.serve()
        site.answer(5)
    site.answer(20)
    site.watch()
    site.catch_up()
    site.writer.close()
    if not running:
        site.unwatch()
    shutil.rmtree(site.home.log)
    shutil.copytree(tmp_path / "copy", site.home.log)
    site.serve()
    site.answer(30)
    if not running:
        site.watch()
    site.catch_up()
    site.unwatch()
    _assert_everything_arrived(site)
    found = site.ledger()
    assert "monitored but no longer in the log: an older copy of the log" in found.output
    assert found.exit_code == 1
    assert "it ends before records that were already read" in caplog.text


def test_a_slow_clock_at_a_restore_hides_no_event(site: Site, tmp_path: Path) -> None:
    site.serve(clock=lambda: 1_000)
    site.answer(10)
    site.writer.close()
    shutil.copytree(site.home.log, tmp_path / "copy")
    site.serve(clock=lambda: 9_000)
    site.answer(10)
    site.restart_watching()
    site.writer.close()
    shutil.rmtree(site.home.log)
    shutil.copytree(tmp_path / "copy", site.home.log)
    site.serve(clock=lambda: 5_000)
    site.answer(10)
    site.restart_watching()
    site.answer(10)
    site.restart_watching()
    _assert_everything_arrived(site)


def test_two_hosts_with_the_same_name_on_one_kafka_lose_nothing(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other", site.kafka, site.names)
    for one in (site, other):
        one.serve()
        one.answer(50)
        one.restart_watching()
    records = []
    for message in site.kafka.held:
        event = decode(message.value)
        records.append(Record(event.source, event.epoch, event.sequence, event, message.value))
    assert len(_forwarded(site.kafka)) == 100
    shared = tmp_path / "shared.db"
    Monitor(shared, records).drain()
    assert {one.source: one.events for one in Store(shared).ledger()} == {
        site.writer.source: 50,
        other.writer.source: 50,
    }


def test_a_copied_home_serves_beside_the_original_under_the_same_name(
    site: Site, tmp_path: Path
) -> None:
    site.serve()
    site.answer(5)
    site.writer.close()
    shutil.copytree(site.home.root, tmp_path / "other")
    other = Site(tmp_path / "other", site.kafka, site.names)
    site.serve()
    other.serve()
    assert site.writer.source == other.writer.source
    for _ in range(3):
        site.answer(5)
        other.answer(5)
        site.restart_watching()
        other.restart_watching()
    events = [decode(message.value) for message in site.kafka.held]
    records = [Record(e.source, e.epoch, e.sequence, e, b"") for e in events]
    shared = tmp_path / "shared.db"
    Monitor(shared, records).drain()
    (found,) = Store(shared).ledger()
    assert found.events == len({event.prediction_id for event in events}) == 35


def test_a_home_of_the_previous_release_continues_and_is_balanced(site: Site) -> None:
    shutil.copytree(OLD_HOME, site.home.root)
    for name in ("monitor", "forwarded.deadletters"):
        with sqlite3.connect(site.home.root / f"{name}.db") as database:
            database.executescript((OLD_HOME / f"{name}.sql").read_text())
    before = [f"p1-{n}" for n in range(12) if n != 5] + [f"p2-{n}" for n in range(8)]
    site.restart_watching()
    site.serve()
    assert site.writer.source != "host-0"
    site.answer(10)
    site.restart_watching()
    arrived = set(_forwarded(site.kafka).values())
    assert arrived == {*before[8:], *site.answered}  # the others were forwarded then
    assert site.monitored() == len(before) + 1 + len(site.answered)
    result = site.ledger()
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines()}
    assert rows["host-0"] == ["20", "20", "19", "1", "20"]
    assert rows[site.writer.source] == ["10", "10", "10", "0", "10"]
    assert result.exit_code == 0, result.output
    assert len(read_all(site.home.log)) == 30


def test_a_folder_keeps_its_identity(tmp_path: Path) -> None:
    first = log_identity(tmp_path / "log")
    assert log_identity(tmp_path / "log") == first != log_identity(tmp_path / "other")
    assert len(first) == 12
    (tmp_path / "log" / "identity").write_bytes(b"\0" * 12)
    assert log_identity(tmp_path / "log") != first


def test_a_readers_position_is_kept_when_the_epoch_increases(site: Site) -> None:
    """A reader that is ahead of what a full page cache shows must not begin again."""
    site.serve()
    site.answer(5)
    site.restart_watching()
    positions = msgspec.json.decode(site.home.cursors.read_bytes())
    reader = SegmentReader(site.home.log, Cursors(site.home.cursors).positions)
    assert reader.poll(10) == []
    assert list(reader.gaps()) == []
    site.answer(1)
    assert [record.sequence for record in reader.poll(10)] == [5]
    assert positions[site.writer.source]["sequence"] == 5
