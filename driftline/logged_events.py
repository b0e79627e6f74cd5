"""Read a log up to its current end: this machine's segments, or Kafka's topics.

Segments can be read from the beginning of a period; topics are read completely.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.event_times import positions_of_period
from eventlog.events import Event
from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.layout import positions_at
from eventlog.log import Position, Reader, Record
from eventlog.segments import SegmentReader
from eventlog.settings import Home, from_environment
from monitoring.settings import PREFIX, MonitorSettings

LogPlace = Path | KafkaSettings

_CHUNK = 1_000
_PATIENCE_S = 30.0  # seconds without records after which reading from Kafka fails
_CLOCKS_US = 10_000_000  # tolerated clock difference between a label and its prediction
_BEGINNING: Mapping[str, Position] = {}


def log_place(home: Home) -> LogPlace:
    """Return the folder or Kafka settings of the log that DRIFTLINE_MONITOR_SOURCE selects."""
    if from_environment(MonitorSettings, PREFIX).source == "segments":
        return home.log
    return from_environment(KafkaSettings, KAFKA_PREFIX)


def describe(place: LogPlace) -> str:
    """Return the name of a log's place for messages."""
    return (
        f"the log {place}"
        if isinstance(place, Path)
        else f"the topics of {place.bootstrap_servers}"
    )


def predicted_since(place: LogPlace, first: int) -> Mapping[str, Position]:
    """Return the start position for reading predictions with event time `first` or later."""
    return positions_of_period(place, first) if isinstance(place, Path) else _BEGINNING


def received_since(place: LogPlace, first: int) -> Mapping[str, Position]:
    """Return the start position for reading events received at `first` or later."""
    return positions_at(place, (first - _CLOCKS_US) / 1e6) if isinstance(place, Path) else {}


def logged_events(
    place: LogPlace,
    start: Mapping[str, Position] = _BEGINNING,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Yield every readable event from `start` on; Kafka is read from its beginning.

    `predicted_since` and `received_since` return start positions. Raises LogUnavailable if the
    broker returns no records.
    """
    if isinstance(place, KafkaSettings):
        from eventlog.kafka_reader import KafkaReader  # noqa: PLC0415 - a separate library

        group = f"driftline-replay-{secrets.token_hex(4)}"  # a new group gets all partitions
        yield from _to_end(KafkaReader(place, group, {}, 0.0), place, clock)
    elif place.is_dir():
        reader = SegmentReader(place, start)
        try:
            while records := reader.poll(_CHUNK):
                yield from _readable(records)
        finally:
            reader.close()


def _to_end(reader: Reader, place: KafkaSettings, clock: Callable[[], float]) -> Iterator[Event]:
    last_records_at, latest = clock(), dict[tuple[str, str, int], int]()
    try:
        while True:
            records = reader.poll(_CHUNK)
            yield from _readable(record for record in records if _is_new(record, latest))
            if reader.drained:
                return
            if records:
                last_records_at = clock()
            elif clock() > last_records_at + _PATIENCE_S:
                raise LogUnavailable(
                    f"{describe(place)} returned no records for {_PATIENCE_S:g} seconds; expected "
                    "a running broker with its topics (driftline topics create)"
                )
    finally:
        reader.close()


def _is_new(record: Record, latest: dict[tuple[str, str, int], int]) -> bool:
    """Return whether the record is not a duplicate; the forwarder may send a batch twice."""
    writer = record.stream, record.source, record.epoch
    if record.source and record.sequence <= latest.get(writer, -1):
        return False
    latest[writer] = record.sequence
    return True


def _readable(records: Iterable[Record]) -> Iterator[Event]:
    for record in records:
        if not isinstance(record.event, UnreadableEvent):
            yield record.event
