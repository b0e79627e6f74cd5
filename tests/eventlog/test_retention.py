"""Segments that retention deletes, and segments that it keeps."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.errors import EventLogError, SettingError
from eventlog.layout import Segment, ends, segments
from eventlog.log import Position
from eventlog.retention import SegmentStatus, deletable, sweep, write_positions
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from tests.eventlog.event_makers import append, read_all

SMALL = LogSettings(segment_bytes=1)  # a segment for every append
ALL = LogSettings(retain_bytes=1)


def _write(home: Home, appends: int) -> SegmentWriter:
    writer = SegmentWriter.claim(home.log, "host", SMALL)
    for _ in range(appends):
        append(writer, 2)
    return writer


def _names(home: Home) -> list[str]:
    return [segment.path.name for segment in segments(home.log / "host-0")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_nothing_is_deleted_before_a_reader_has_read_it(home: Home) -> None:
    writer = _write(home, 3)
    assert sweep(home, ALL, now=0) == []
    write_positions(home.consumed, {"host-0": Position(writer.epoch, 3)})
    assert [path.name for path in sweep(home, ALL, now=0)] == [f"{writer.epoch}-000000000000.log"]


def test_the_slowest_required_reader_decides(home: Home) -> None:
    writer = _write(home, 3)
    write_positions(home.consumed, {"host-0": Position(writer.epoch, 6)})
    write_positions(home.cursors, {"host-0": Position(writer.epoch, 2)})
    assert len(sweep(home, ALL, now=0)) == 1
    assert sweep(home, LogSettings(retain_bytes=1, retain_for="monitor, forwarder"), now=0) == []
    assert len(sweep(home, LogSettings(retain_bytes=1, retain_for="monitor"), now=0)) == 2
    assert len(_names(home)) == 1


def test_a_required_reader_without_a_position_prevents_deletion(home: Home) -> None:
    writer = _write(home, 3)
    write_positions(home.consumed, {"host-0": Position(writer.epoch, 6)})
    assert sweep(home, LogSettings(retain_bytes=1, retain_for="forwarder"), now=0) == []


def test_segments_are_deleted_by_age(home: Home) -> None:
    writer = _write(home, 3)
    write_positions(home.consumed, {"host-0": Position(writer.epoch, 6)})
    for age, segment in zip((900, 500, 100), segments(home.log / "host-0"), strict=False):
        os.utime(segment.path, (1000 - age, 1000 - age))
    gone = sweep(home, LogSettings(retain_seconds=400), now=1000)
    assert [path.name for path in gone] == [
        f"{writer.epoch}-000000000000.log",
        f"{writer.epoch}-000000000002.log",
    ]


def test_a_source_keeps_its_last_segment_and_thereby_its_epoch(home: Home) -> None:
    _write(home, 2).close()
    last = _write(home, 1)
    last.close()
    write_positions(home.consumed, {"host-0": Position(last.epoch + 1, 0)})
    sweep(home, ALL, now=0)
    assert _names(home) == [f"{last.epoch}-000000000002.log"]
    assert ends(home.log / "host-0") == {last.epoch: 2}
    assert SegmentWriter.claim(home.log, "host").epoch > last.epoch


def test_a_reader_continues_after_a_deletion_without_a_gap(home: Home) -> None:
    writer = _write(home, 3)
    write_positions(home.consumed, {"host-0": Position(writer.epoch, 4)})
    sweep(home, ALL, now=0)
    append(writer, 1)
    assert [record.sequence for record in read_all(home.log)] == [4, 5, 6]


def test_positions_that_cannot_be_read_delete_nothing(home: Home) -> None:
    _write(home, 3)
    home.consumed.write_text("{")
    with pytest.raises(EventLogError, match=r"consumed\.json: expected positions"):
        sweep(home, ALL, now=0)
    assert len(_names(home)) == 4


def test_an_unknown_reader_is_an_error_with_the_known_names(home: Home) -> None:
    _write(home, 1)
    with pytest.raises(SettingError, match="'auditor'; expected monitor, forwarder"):
        sweep(home, LogSettings(retain_bytes=1, retain_for="auditor"), now=0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 100)), min_size=1, max_size=8),
    st.lists(st.integers(0, 16), max_size=3),
    st.integers(1, 100),
    st.integers(1, 200),
)
def test_read_segments_are_deleted_until_the_limits_hold(
    sizes: list[tuple[int, int]], read: list[int], limit: int, age: int
) -> None:
    count = len(sizes)
    kept = [
        SegmentStatus(
            Segment(1, 2 * n, Path("log/a") / str(n)),
            Position(1, 2 * n + 2) if n + 1 < count else None,
            size,
            float(written),
        )
        for n, (size, written) in enumerate(sizes)
    ]
    readers = [{"a": Position(1, at)} for at in read]
    settings = LogSettings(retain_bytes=limit, retain_seconds=age)
    gone = deletable(kept, readers, settings, now=100)
    free = [one for one in kept if read and one.following and one.following.sequence <= min(read)]
    assert all(one in free for one in gone)
    left = [one for one in free if one not in gone]
    assert not left or sum(one.size for one in kept if one not in gone) <= limit
    assert all(100 - one.written < age for one in left)
