"""`driftline ledger` on real segments and a real monitor's database."""

import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.ledger import ledger
from eventlog import frames
from eventlog.answer_counts import MINUTE, CountingWriter
from eventlog.dead_letters import DeadLetters, UnforwardedRecord, dead_letter
from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent
from eventlog.heartbeats import TICK_US, Heartbeats
from eventlog.layout import segments
from eventlog.log import Position
from eventlog.retention import write_positions
from eventlog.segments import SegmentReader
from eventlog.settings import Home, LogSettings
from eventlog.stamps import Stamps
from monitoring.storage.database import Database
from tests.logged_labels import append_label
from tests.monitoring.log_in_memory import T0, Monitor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    return Home(tmp_path)


@pytest.fixture
def writer(home: Home) -> CountingWriter:
    return CountingWriter.claim(home.log, "host")


def _append(writer: CountingWriter, count: int, *, minute: int = 0) -> None:
    for _ in range(count):
        append_label(writer, received=T0 + minute * MINUTE)


def _append_of_shards(writer: CountingWriter, count: int, *shards: str) -> None:
    """So many labels, one after the other of these shards."""
    for n in range(count):
        append_label(writer, **Stamps(writer).take(shards[n % len(shards)])._asdict())


def _monitor(home: Home) -> None:
    Monitor(home.monitor, [], follow=lambda at: SegmentReader(home.log, at)).drain()


def _delete_by_hand(home: Home, first: int, count: int) -> None:
    path = segments(home.log / "host-0")[-1].path
    data = path.read_bytes()
    found = list(frames.split(data, final=True))
    path.write_bytes(data[: found[first].start] + data[found[first + count].start :])


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(ledger, arguments)


def _figures(result: Result) -> list[str]:
    (line,) = [line for line in result.output.splitlines() if line.startswith("host-0 ")]
    return line.split()[1:]


def test_seven_records_deleted_by_hand_are_seven_of_their_shards(
    home: Home, writer: CountingWriter
) -> None:
    _append_of_shards(writer, 40, "abc", "def", "abc")
    Heartbeats(writer, lambda: T0).tick()
    _delete_by_hand(home, first=9, count=7)
    _monitor(home)
    result = _run()
    assert "host-0: 7 answered but not in the log" in result.output
    assert "host-0: 7 lost: 5 of shard abc, 2 of shard def" in result.output
    assert result.exit_code == 1


def test_a_lost_tail_shows_by_the_heartbeat_after_it(home: Home, writer: CountingWriter) -> None:
    _append_of_shards(writer, 20, "abc")
    Heartbeats(writer, lambda: T0).end()
    _delete_by_hand(home, first=13, count=7)
    _monitor(home)
    assert "host-0: 7 lost: 7 of shard abc" in _run().output


def _silent() -> set[str]:
    lines = [line for line in _run().output.splitlines() if "no heartbeat since" in line]
    return {line.partition(", and no end")[0] for line in lines}


def test_a_worker_that_died_is_neither_ended_nor_idle(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = T0
    monkeypatch.setattr("driftline.ledger.now_us", lambda: now)
    names = ("died", "ended", "idle")
    writers = {name: CountingWriter.claim(home.log, name) for name in names}
    beats = {name: Heartbeats(one, lambda: now) for name, one in writers.items()}
    for name in names:
        _append_of_shards(writers[name], 3, "abc")
        beats[name].tick()
    beats["ended"].end()
    for _ in range(100):
        now += TICK_US
        beats["idle"].tick()
    _monitor(home)
    assert _silent() == {"died-0: no heartbeat since 2013-07-01 00:00:10 UTC"}
    now += 5 * MINUTE
    assert {line.partition(":")[0] for line in _silent()} == {"died-0", "idle-0"}
    _append_of_shards(writers["idle"], 1, "abc")  # the monitor has not read it
    assert _silent() == {"died-0: no heartbeat since 2013-07-01 00:00:10 UTC"}


def test_a_complete_log_is_balanced(home: Home, writer: CountingWriter) -> None:
    _append(writer, 1000)
    _monitor(home)
    write_positions(home.cursors, {"host-0": Position(writer.epoch, 1000)})
    result = _run()
    assert _figures(result) == ["1,000", "1,000", "1,000", "0", "1,000"]
    assert result.exit_code == 0


def test_seven_records_deleted_by_hand_are_seven(home: Home, writer: CountingWriter) -> None:
    _append(writer, 1000)
    _delete_by_hand(home, 500, 7)
    _monitor(home)
    result = _run()
    assert _figures(result) == ["1,000", "993", "-", "-", "993"]
    assert "host-0: 7 answered but not in the log" in result.output
    assert result.exit_code == 1


def test_seven_records_deleted_from_the_end_are_seven_as_well(
    home: Home, writer: CountingWriter
) -> None:
    """No number follows them, so nobody who only reads the log could tell."""
    _append(writer, 1000)
    _delete_by_hand(home, 992, 7)
    path = segments(home.log / "host-0")[-1].path
    *_, last = frames.split(path.read_bytes(), final=True)
    path.write_bytes(path.read_bytes()[: last.start])
    assert "host-0: 8 answered but not in the log" in _run().output


def test_events_in_flight_are_not_missing(home: Home, writer: CountingWriter) -> None:
    _append(writer, 600)
    _monitor(home)
    write_positions(home.cursors, {"host-0": Position(writer.epoch, 400)})
    _append(writer, 400)
    result = _run()
    assert _figures(result) == ["1,000", "1,000", "400", "0", "600"]
    assert result.exit_code == 0


def test_dead_lettered_events_are_named_and_not_missing(home: Home, writer: CountingWriter) -> None:
    _append(writer, 1000)
    _monitor(home)
    write_positions(home.cursors, {"host-0": Position(writer.epoch, 800)})
    places = (3, 500, 900)  # the last lies beyond the cursor, as after a topic was re-created
    DeadLetters(home.dead_letters).add(
        [UnforwardedRecord("host-0", writer.epoch, n, "too large", T0) for n in places]
    )
    result = _run()
    assert _figures(result) == ["1,000", "1,000", "798", "2", "1,000"]
    assert "host-0: 2 dead-lettered by the forwarder" in result.output
    assert result.exit_code == 0


def test_any_range_of_minutes_can_be_compared(home: Home, writer: CountingWriter) -> None:
    for minute in range(10):
        _append(writer, 10, minute=minute)  # T0 is 2013-07-01, midnight
    _delete_by_hand(home, 45, 7)
    _monitor(home)
    early = _run("--to", "2013-07-01T00:04")
    assert (_figures(early), early.exit_code) == (["40", "40", "-", "-", "40"], 0)
    middle = _run("--from", "2013-07-01T00:04", "--to", "2013-07-01T00:05")
    assert (_figures(middle), middle.exit_code) == (["10", "5", "-", "-", "5"], 1)
    late = _run("--from", "2013-07-01 00:06")
    assert (_figures(late), late.exit_code) == (["40", "40", "-", "-", "40"], 0)


def test_expired_events_are_named_and_not_missing(home: Home) -> None:
    writer = CountingWriter.claim(home.log, "host", LogSettings(segment_bytes=1))
    _append(writer, 10, minute=1)
    _append(writer, 10, minute=2)
    segments(home.log / "host-0")[0].path.unlink()
    result = _run()
    assert "retention deleted the oldest events" in result.output
    assert (_figures(result), result.exit_code) == (["10", "10", "-", "-", "-"], 0)


def test_a_home_without_a_log_has_nothing_to_compare(home: Home) -> None:
    assert _run().exit_code == 0


def test_a_source_with_only_expired_segments_is_not_lost(
    home: Home, writer: CountingWriter
) -> None:
    _append(writer, 10)
    _monitor(home)
    writer.close()
    for segment in segments(home.log / "host-0"):
        segment.path.unlink()
    result = _run()
    assert "retention deleted the oldest events" in result.output
    assert result.exit_code == 0


def test_more_monitored_than_logged_is_an_error(home: Home, writer: CountingWriter) -> None:
    _append(writer, 10)
    _monitor(home)
    database = Database(home.monitor)
    with database.transaction():
        database.do("UPDATE monitored SET events = events + 3")
    database.close()
    result = _run()
    assert "host-0: 3 counted by the monitor but not in the log" in result.output
    assert result.exit_code == 1


def test_minutes_without_counts_of_an_earlier_release_are_named_and_not_missing(
    home: Home, writer: CountingWriter
) -> None:
    _append(writer, 100)
    _append(writer, 50, minute=1)
    _monitor(home)
    database = Database(home.monitor)
    with database.transaction():
        database.do(f"DELETE FROM monitored WHERE minute = {T0 // MINUTE}")
    database.close()
    result = _run()
    assert "host-0: 100 monitored by an earlier release" in result.output
    assert result.exit_code == 0


CLOCKS = [T0, T0 + 1000 * MINUTE, 2**62, 253_402_300_799_000_000]  # in microseconds


@pytest.mark.parametrize("seed", range(8))
def test_every_event_of_any_history_is_accounted_for(home: Home, seed: int) -> None:
    chance = random.Random(seed)
    lost, logged, passed = 0, 0, 0
    for _ in range(chance.randrange(1, 4)):  # lives of the worker
        writer = CountingWriter.claim(home.log, "host")
        count = chance.randrange(5, 60)
        for _ in range(count):
            event = FeedbackEvent(
                source=writer.source,
                epoch=writer.epoch,
                sequence=writer.next_sequence,
                time=T0,
                received=chance.choice(CLOCKS) + chance.randrange(3) * MINUTE,
                prediction_id=f"p{writer.next_sequence}",
                label=chance.choice([1, "other"]),
                row=chance.choice([0, 0, -1, 2**31]),
            )
            writer.append([event])
        if chance.random() < 0.5:
            gone = chance.randrange(1, 4)
            _delete_by_hand(home, chance.randrange(count - gone), gone)
            lost, count = lost + gone, count - gone
        logged += count
        if chance.random() < 0.6:
            _monitor(home)
            passed = logged
        writer.close()
    end = Position(writer.epoch, chance.randrange(10))
    write_positions(home.cursors, {"host-0": end})
    DeadLetters(home.dead_letters).add(
        [
            dead_letter(record, "too large")
            for record in SegmentReader(home.log, {}).poll(10_000)
            if chance.random() < 0.1
        ]
    )
    forwarded = sum(
        Position(record.epoch, record.sequence) < end
        for record in SegmentReader(home.log, {}).poll(10_000)
        if not isinstance(record.event, UnreadableEvent)
    )
    result = _run()
    figures = [0 if n == "-" else int(n.replace(",", "")) for n in _figures(result)]
    assert figures[0] == figures[1] + lost
    assert figures[1] == logged
    assert figures[2] + figures[3] == forwarded
    assert figures[4] == passed
    assert (f"{lost} answered but not in the log" in result.output) == bool(lost)
    assert ("not monitored" in result.output, "counted by" in result.output) == (False, False)
    assert result.exit_code == bool(lost)
    for repeated in (_run("--verify"), _run(), _run()):
        assert (repeated.output, repeated.exit_code) == (result.output, result.exit_code)


@pytest.mark.parametrize("stored", [b"", b"\xff", b"\x81\xa1x\x01"])
def test_stored_segment_counts_are_used_only_while_they_are_valid(
    home: Home, stored: bytes
) -> None:
    small = LogSettings(segment_bytes=2_000)
    writer = CountingWriter.claim(home.log, "host", small)
    home.segment_counts.write_bytes(stored)
    _append(writer, 100)
    assert len(segments(home.log / "host-0")) > 3
    _monitor(home)
    assert [_figures(_run())[1] for _ in range(2)] == ["100", "100"]
    _append(writer, 50)
    assert _figures(_run())[:2] == ["150", "150"]
    first = segments(home.log / "host-0")[0].path
    data = first.read_bytes()
    kept = next(iter(frames.split(data, final=True)))
    first.write_bytes(data[kept.end :])  # the first record is gone
    result = _run()
    assert _figures(result)[:2] == ["150", "149"]
    assert result.output == _run("--verify").output
    assert result.exit_code == 1
