"""The local log fulfils the contract of eventlog/log.py."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event
from eventlog.layout import segments
from eventlog.log import Position, Record
from eventlog.segments import SegmentReader, SegmentWriter
from eventlog.settings import LogSettings
from tests.eventlog.event_makers import append, labels


def _drain(reader: SegmentReader, limit: int = 100) -> list[Record]:
    records: list[Record] = []
    while batch := reader.poll(limit):
        records.extend(batch)
    return records


def _read(folder: Path, positions: dict[str, Position] | None = None) -> list[Record]:
    reader = SegmentReader(folder, positions or {})
    try:
        return _drain(reader)
    finally:
        reader.close()


def test_a_reader_follows_while_the_log_is_written(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    reader = SegmentReader(tmp_path, {})
    first = append(writer, 3)
    assert [record.event for record in _drain(reader)] == first
    assert reader.poll(10) == []
    second = append(writer, 2)
    assert [record.event for record in _drain(reader)] == second
    assert [record.sequence for record in _read(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_reader_started_before_the_first_writer_sees_everything(tmp_path: Path) -> None:
    reader = SegmentReader(tmp_path / "log", {})
    assert reader.poll(10) == []
    events = append(SegmentWriter.claim(tmp_path / "log", "host"), 2)
    assert [record.event for record in _drain(reader)] == events


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=12), st.integers(1, 9), st.data())
def test_every_record_is_read_once_across_segments_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], limit: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    writer = SegmentWriter.claim(folder, "host", LogSettings(segment_bytes=400))
    written = [event for count in batches for event in append(writer, count)]
    read: list[Event | UnreadableEvent] = []
    positions: dict[str, Position] = {}
    while len(read) < len(written):
        reader = SegmentReader(folder, positions)
        for _ in range(data.draw(st.integers(1, 3))):
            for record in reader.poll(limit):
                read.append(record.event)
                positions[record.source] = record.after
        reader.close()
    assert read == written
    writer.close()


def test_each_writer_has_its_own_source_and_a_restart_is_a_new_epoch(tmp_path: Path) -> None:
    first, second = SegmentWriter.claim(tmp_path, "a_b"), SegmentWriter.claim(tmp_path, "a_b")
    assert (first.source, second.source) == ("a-b-0", "a-b-1")
    append(first, 2)
    first.close()
    again = SegmentWriter.claim(tmp_path, "a_b")
    assert (again.source, again.next_sequence) == ("a-b-0", 0)
    assert again.epoch > first.epoch
    append(again, 1)
    append(second, 1)
    assert {(r.source, r.epoch, r.sequence) for r in _read(tmp_path)} == {
        ("a-b-0", first.epoch, 0),
        ("a-b-0", first.epoch, 1),
        ("a-b-0", again.epoch, 0),
        ("a-b-1", second.epoch, 0),
    }


def test_sources_share_a_poll_fairly(tmp_path: Path) -> None:
    for writer in (SegmentWriter.claim(tmp_path, "x"), SegmentWriter.claim(tmp_path, "x")):
        append(writer, 50)
    sources = [record.source for record in SegmentReader(tmp_path, {}).poll(20)]
    assert sources.count("x-0") == sources.count("x-1") == 10


def test_no_source_runs_ahead_of_another_in_time(tmp_path: Path) -> None:
    often, seldom = SegmentWriter.claim(tmp_path, "x"), SegmentWriter.claim(tmp_path, "x")
    for writer, seconds in ((often, range(100)), (seldom, range(0, 100, 10))):
        stamped = [
            msgspec.structs.replace(event, received=second * 1_000_000)
            for second, event in zip(seconds, labels(writer, len(seconds)), strict=True)
        ]
        writer.append(stamped)
    reader = SegmentReader(tmp_path, {})
    received = [record.event.received for record in _drain(reader, limit=7)]
    assert received == sorted(received)
    assert len(received) == 110


def test_events_out_of_sequence_are_refused_and_not_written(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    with pytest.raises(ValueError, match=r"host-0:\d+:1 cannot be appended; expected host-0:\d+:0"):
        writer.append(labels(writer, 2)[1:])
    assert _read(tmp_path) == []


def test_a_torn_tail_is_cut_off_when_the_source_is_taken_over(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    events = append(writer, 2)
    writer.close()
    path = segments(tmp_path / "host-0")[-1].path
    intact = path.stat().st_size
    with path.open("ab") as file:
        file.write(path.read_bytes()[: intact - 5])
    assert [record.event for record in _read(tmp_path)] == events
    SegmentWriter.claim(tmp_path, "host")
    assert path.stat().st_size == intact
    assert [record.event for record in _read(tmp_path)] == events


def test_damage_is_reported_for_every_lost_sequence_number(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    for count in (2, 3, 1):
        append(writer, count)
    path = segments(tmp_path / "host-0")[-1].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    records = _read(tmp_path)
    damaged = [r.sequence for r in records if isinstance(r.event, UnreadableEvent)]
    assert [record.sequence for record in records] == [0, 1, 2, 3, 4, 5]
    assert damaged == [2, 3, 4]


def test_random_bit_flips_never_stop_the_reader_nor_invent_an_event(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    written = [event for _ in range(60) for event in append(writer, 2)]
    path = segments(tmp_path / "host-0")[-1].path
    original = path.read_bytes()
    chance = random.Random(7)
    for _ in range(100):
        data = bytearray(original)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        intact = [r for r in _read(tmp_path) if not isinstance(r.event, UnreadableEvent)]
        assert all(record.event == written[record.sequence] for record in intact)
        assert len(intact) >= len(written) - 2


def test_a_full_disk_refuses_the_append_and_leaves_the_log_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    events = append(writer, 1)
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real_write(file, data[:10]))
    with pytest.raises(LogUnavailable, match="No space left"):
        append(writer, 1)
    monkeypatch.undo()
    events += append(writer, 1)
    assert [record.event for record in _read(tmp_path)] == events


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from eventlog.events import FeedbackEvent
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings

writer = SegmentWriter.claim(Path(sys.argv[1]), "host", LogSettings(segment_bytes=20_000))
while True:
    first = writer.next_sequence
    writer.append([
        FeedbackEvent(source=writer.source, epoch=writer.epoch, sequence=first + n, time=0,
                      received=0, prediction_id=f"{writer.epoch}/{first + n}", label=n)
        for n in range(3)
    ])
    print(writer.epoch, writer.next_sequence, flush=True)
"""


def test_appends_of_a_killed_writer_are_in_the_log(tmp_path: Path) -> None:
    promised: dict[int, int] = {}
    chance = random.Random(11)
    for _ in range(5):
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(20, 400)):
                epoch, answered = process.stdout.readline().split()
                promised[int(epoch)] = int(answered)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                if len(line.split()) == 2 and line.endswith("\n"):
                    epoch, answered = line.split()
                    promised[int(epoch)] = int(answered)
    found: dict[int, list[int]] = {}
    for record in _read(tmp_path):
        found.setdefault(record.epoch, []).append(record.sequence)
    assert len(promised) == 5
    for epoch, answered in promised.items():
        assert found[epoch] == list(range(len(found[epoch])))
        assert len(found[epoch]) >= answered


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_writer_notices_that_its_folder_was_removed(tmp_path: Path, durability: str) -> None:
    writer = SegmentWriter.claim(
        tmp_path / "log", "host", msgspec.convert({"durability": durability}, LogSettings)
    )
    append(writer, 1)
    assert not writer.detached()
    shutil.rmtree(tmp_path / "log")
    assert writer.detached()
    with pytest.raises(LogUnavailable, match="removed or replaced"):
        append(writer, 1)
    writer.close()


def test_a_writer_notices_that_another_folder_has_its_name(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path / "log", "host")
    append(writer, 1)
    (tmp_path / "log").rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", tmp_path / "log")
    assert writer.detached()
    writer.close()
