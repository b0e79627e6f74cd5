"""Readers of a period of event time skip exactly the segments without events of the period."""

import random
from pathlib import Path

import pytest

from eventlog.event_times import TIMES, latest_time, positions_of_period
from eventlog.events import PredictionEvent
from eventlog.layout import segments
from eventlog.log import Position
from eventlog.retention import sweep, write_positions
from eventlog.segments import SegmentReader, SegmentWriter
from eventlog.settings import Home, LogSettings
from tests.eventlog.event_makers import append

SMALL = LogSettings(segment_bytes=1)  # a segment for every append


def predict(writer: SegmentWriter, *times: int) -> None:
    """Append predictions with these event times together."""
    writer.append(
        [
            PredictionEvent(
                source=writer.source, epoch=writer.epoch, sequence=writer.next_sequence + n,
                time=time, received=1, prediction_id=f"p{writer.next_sequence + n}", model="tiny",
                version="1", protocol="rest", outcome="ok", rows=1,
            )
            for n, time in enumerate(times)
        ]
    )  # fmt: skip


def read_since(log: Path, first: int) -> list[int]:
    """Return the event times of the predictions after the start of a period."""
    reader = SegmentReader(log, positions_of_period(log, first))
    times = []
    while records := reader.poll(100):
        events = (record.event for record in records)
        times += [event.time for event in events if isinstance(event, PredictionEvent)]
    assert not reader.gaps()
    reader.close()
    return times


def test_every_prediction_of_a_period_is_read_whatever_its_order(tmp_path: Path) -> None:
    draw = random.Random(4)
    times = [n + draw.randint(-15, 15) for n in range(100)]
    for host, own in (("one", times[::2]), ("two", times[1::2])):
        writer = SegmentWriter.claim(tmp_path, host, SMALL)
        for start in range(0, len(own), 3):
            predict(writer, *own[start : start + 3])
            append(writer, 1)
        writer.close()
    for first in range(-20, 120, 7):
        read = read_since(tmp_path, first)
        expected = sorted(time for time in times if time >= first)
        assert sorted(time for time in read if time >= first) == expected
    assert len(read_since(tmp_path, 95)) < 40
    assert latest_time(tmp_path) == max(times)


def test_a_closed_log_with_only_labels_is_skipped(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host", SMALL)
    append(writer, 2)
    append(writer, 2)
    predict(writer, -7)
    writer.close()
    assert positions_of_period(tmp_path, -7) == {"host-0": Position(writer.epoch, 4)}
    assert latest_time(tmp_path) == -7


@pytest.mark.parametrize("text", ["", "5 9", "5\n", "nine\n", None])
def test_a_segment_with_incomplete_event_times_is_read(tmp_path: Path, text: str | None) -> None:
    writer = SegmentWriter.claim(tmp_path, "host", SMALL)
    for time in (5, 50, 500):
        predict(writer, time)
    writer.close()
    times = segments(tmp_path / "host-0")[1].path.with_suffix(TIMES)
    assert times.read_text() == "50 50\n"
    assert read_since(tmp_path, 100) == [500]
    if text is None:
        times.unlink()
    else:
        times.write_text(text)
    assert read_since(tmp_path, 100) == [50, 500]


def test_segments_of_killed_and_of_current_writers_are_read(tmp_path: Path) -> None:
    killed = SegmentWriter.claim(tmp_path, "host")
    predict(killed, 5)  # never closed: its segment has no times
    (tmp_path / "host-0" / "lock").unlink()
    writer = SegmentWriter.claim(tmp_path, "host")
    predict(writer, 6)
    assert writer.source == killed.source
    assert read_since(tmp_path, 100) == [5, 6]
    assert latest_time(tmp_path) is None


def test_retention_deletes_the_times_of_a_segment_with_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    writer = SegmentWriter.claim(home.log, "host", SMALL)
    for time in range(3):
        predict(writer, time)
    write_positions(home.consumed, {"host-0": Position(writer.epoch, 2)})
    assert len(list((home.log / "host-0").glob(f"*{TIMES}"))) == 3
    sweep(home, LogSettings(retain_bytes=1), now=0)
    assert [path.read_text() for path in (home.log / "host-0").glob(f"*{TIMES}")] == ["2 2\n"]
    writer.close()
