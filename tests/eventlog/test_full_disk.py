"""A log on a disk that is really full."""

from pathlib import Path

import pytest

from eventlog.disk_reserve import DiskReserve
from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings
from tests.eventlog.event_makers import append, read_all
from tests.small_disk import fill

HELD = 256 << 10


def test_a_full_disk_logs_accepted_requests_and_refuses_new_ones(
    small_disk: Path,
) -> None:
    writer = SegmentWriter.claim(small_disk / "log", "host", LogSettings(reserve_bytes=HELD))
    written = append(writer, 10)
    fill(small_disk)
    assert not writer.full
    while not writer.full:
        written += append(writer, 10)
    for _ in range(20):
        written += append(writer, 10)
    assert [record.event for record in read_all(small_disk / "log")] == written


def test_a_log_without_reserve_writes_nothing_of_refused_events(
    small_disk: Path,
) -> None:
    writer = SegmentWriter.claim(small_disk / "log", "host", LogSettings(reserve_bytes=HELD))
    fill(small_disk)
    written: list[Event] = []

    def use_up() -> None:
        while True:
            written.extend(append(writer, 50))

    with pytest.raises(LogUnavailable, match="No space left"):
        use_up()
    assert writer.full
    assert [record.event for record in read_all(small_disk / "log")] == written


def test_a_log_accepts_events_again_once_there_is_space(small_disk: Path) -> None:
    now = [0.0]
    ballast = fill(small_disk)
    reserve = DiskReserve(small_disk / "reserve", HELD, clock=lambda: now[0])
    assert not reserve.is_allocated()
    ballast.unlink()
    assert not reserve.is_allocated()  # it was tried this second
    now[0] = 1.0
    assert reserve.is_allocated()
    assert (small_disk / "reserve").stat().st_blocks * 512 >= HELD


def test_a_log_that_drops_counts_exactly_what_it_dropped_and_leaves_gaps(small_disk: Path) -> None:
    dropped: list[int] = []
    drop = LogSettings(when_full="drop")
    writer = SegmentWriter.claim(small_disk / "log", "host", drop, dropped.append)
    written = append(writer, 5)
    ballast = fill(small_disk)
    for _ in range(100):
        before = len(dropped)
        events = append(writer, 7)
        written += events if len(dropped) == before else []
    assert len(dropped) > 10
    assert not writer.full
    ballast.unlink()
    written += append(writer, 2)
    records = read_all(small_disk / "log")
    assert [record.event for record in records] == written
    assert writer.next_sequence - len(records) == sum(dropped)


def test_events_dropped_at_the_end_of_an_epoch_count_as_missing(small_disk: Path) -> None:
    drop = LogSettings(when_full="drop")
    dropped: list[int] = []
    writer = SegmentWriter.claim(small_disk / "log", "host", drop, dropped.append)
    ballast = fill(small_disk)
    while len(dropped) < 3:
        append(writer, 10)
    ballast.unlink()
    writer.close()
    append(SegmentWriter.claim(small_disk / "log", "host"), 1)
    records = read_all(small_disk / "log")
    missing = [r for r in records if isinstance(r.event, UnreadableEvent)]
    assert len(missing) == sum(dropped)
    assert "missing at the end of its epoch" in str(missing[0].event)
