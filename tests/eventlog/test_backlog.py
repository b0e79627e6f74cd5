"""The backlog is exactly the number of unread records."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from eventlog.backlog import Backlog
from eventlog.layout import segments
from eventlog.log import Position
from eventlog.segments import SegmentReader, SegmentWriter
from eventlog.settings import LogSettings
from tests.eventlog.event_makers import append, read_all

SMALL = LogSettings(segment_bytes=500)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(1, 9), max_size=5)), max_size=8),
    st.integers(0, 60),
)
def test_the_backlog_is_the_unread_rest_of_all_sources_epochs_and_segments(
    lives: list[tuple[str, list[int]]], read: int
) -> None:
    with TemporaryDirectory() as folder:
        log, positions = Path(folder), dict[str, Position]()
        backlog = Backlog(log)
        assert backlog.count({}) == 0
        for source, appends in lives:
            writer = SegmentWriter.claim(log, source, SMALL)
            for count in appends:
                append(writer, count)
                assert backlog.count({}) == len(read_all(log))
            writer.close()
        records = read_all(log)
        reader = SegmentReader(log, {})
        for record in reader.poll(read) if read else []:
            positions[record.stream] = record.after
        reader.close()
        assert backlog.count(positions) == len(records) - min(read, len(records))


def test_an_incomplete_frame_does_not_count(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "a")
    append(writer, 3)
    (segment,) = segments(tmp_path / writer.source)
    size = segment.path.stat().st_size
    append(writer, 4)
    backlog = Backlog(tmp_path)
    whole = segment.path.read_bytes()
    os.truncate(segment.path, size + 70)
    assert backlog.count({}) == 3
    segment.path.write_bytes(whole)
    assert backlog.count({}) == 7


def test_a_deleted_segment_does_not_count(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "a", SMALL)
    for _ in range(9):
        append(writer, 5)
    first, second = segments(tmp_path / writer.source)[:2]
    first.path.unlink()
    assert Backlog(tmp_path).count({}) == 45 - second.base
