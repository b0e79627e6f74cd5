"""Create label events and read logs to their end."""

from pathlib import Path

from eventlog.events import Event, FeedbackEvent
from eventlog.log import Record
from eventlog.segments import SegmentReader, SegmentWriter


def labels(writer: SegmentWriter, count: int) -> list[Event]:
    """So many events with the writer's next sequences, not appended yet."""
    return [
        FeedbackEvent(
            source=writer.source,
            epoch=writer.epoch,
            sequence=writer.next_sequence + n,
            time=1_000_000 + n,
            received=2_000_000,
            prediction_id=f"p{writer.next_sequence + n}",
            label=1,
        )
        for n in range(count)
    ]


def append(writer: SegmentWriter, count: int) -> list[Event]:
    """So many events, appended together."""
    events = labels(writer, count)
    writer.append(events)
    return events


def read_all(folder: Path) -> list[Record]:
    """Every record of a log."""
    reader = SegmentReader(folder, {})
    records: list[Record] = []
    while batch := reader.poll(1000):
        records.extend(batch)
    reader.close()
    return records
