"""Export events of the log to JSON lines or Parquet, in chunks of a thousand."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.events import Event, FeedbackEvent, HeartbeatEvent, PredictionEvent
from eventlog.log import Record
from eventlog.segments import SegmentReader

Kind = Literal["prediction", "feedback", "heartbeat"]
KINDS: dict[Kind, type[Event]] = {
    "prediction": PredictionEvent,
    "feedback": FeedbackEvent,
    "heartbeat": HeartbeatEvent,
}
_CHUNK = 1_000  # records read at a time
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}


class EventFilter(msgspec.Struct, frozen=True):
    """Selects events by kind, model and event time in [start, end); None or "" selects all."""

    kind: Kind | None = None
    model: str = ""
    start: int | None = None  # microseconds since the epoch
    end: int | None = None

    def matches(self, event: Event) -> bool:
        """Return whether the event is selected; a model excludes labels, which name no model."""
        return (
            (self.kind is None or isinstance(event, KINDS[self.kind]))
            and (not self.model or getattr(event, "model", "") == self.model)
            and (self.start is None or event.time >= self.start)
            and (self.end is None or event.time < self.end)
        )


def export_events(log: Path, target: Path, event_filter: EventFilter) -> tuple[int, int]:
    """Write the selected events to a `.jsonl` or `.parquet` file.

    Returns the numbers of events and of unreadable records. The file is replaced atomically.
    A Parquet file contains one kind of event, because the columns differ between kinds.
    """
    fresh = target.with_name(f"{target.name}.part")
    unreadable: list[int] = []
    chosen = _chosen(log, event_filter, unreadable)
    if target.suffix == ".parquet":
        if event_filter.kind is None:
            raise click.UsageError("a Parquet file contains one kind of event: expected --kind")
        count = _write_parquet(fresh, event_filter.kind, chosen)
    else:
        with fresh.open("wb") as file:
            count = write_lines(file, chosen)
    fresh.replace(target)
    return count, len(unreadable)


def write_lines(file: Any, chosen: Iterable[list[Event]]) -> int:
    """Write one JSON object per line; return the number of events."""
    count = 0
    for events in chosen:
        file.writelines(wire.encode(event) + b"\n" for event in events)
        count += len(events)
    return count


def _chosen(log: Path, event_filter: EventFilter, unreadable: list[int]) -> Iterator[list[Event]]:
    reader = SegmentReader(log, {})
    try:
        while records := reader.poll(_CHUNK):
            yield [event for event in _readable(records, unreadable) if event_filter.matches(event)]
    finally:
        reader.close()


def _readable(records: Iterable[Record], unreadable: list[int]) -> Iterator[Event]:
    for record in records:
        if isinstance(record.event, UnreadableEvent):
            unreadable.append(record.sequence)
        else:
            yield record.event


def _write_parquet(path: Path, kind: Kind, chosen: Iterable[list[Event]]) -> int:
    """Write one column per field; tensors and labels as JSON, because their types vary."""
    fields = msgspec.structs.fields(KINDS[kind])
    schema = pa.schema([(field.name, _ARROW.get(field.type, pa.string())) for field in fields])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for events in chosen:
            if events:
                columns = {
                    field.name: [_cell(event, field) for event in events] for field in fields
                }
                writer.write_table(pa.table(columns, schema=schema))
                count += len(events)
    return count


def _cell(event: Event, field: msgspec.structs.FieldInfo) -> Any:
    value = getattr(event, field.name)
    if field.type in _ARROW or (isinstance(value, str) and field.name != "label"):
        return value
    return msgspec.json.encode(value).decode()
