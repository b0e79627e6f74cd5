"""Read a whole log up to its present end: the segments of a machine, or the topics of Kafka."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from eventlog.errors import LogUnavailable, UnreadableEvent
from eventlog.events import Event
from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.log import Reader, Record
from eventlog.segments import SegmentReader
from eventlog.settings import Home, from_environment
from monitoring.settings import PREFIX, MonitorSettings

LogPlace = Path | KafkaSettings

_CHUNK = 1_000
_PATIENCE_S = 30.0  # for a broker that returns nothing


def log_place(home: Home) -> LogPlace:
    """Return the place of the log that the monitor reads (DRIFTLINE_MONITOR_SOURCE)."""
    if from_environment(MonitorSettings, PREFIX).source == "segments":
        return home.log
    return from_environment(KafkaSettings, KAFKA_PREFIX)


def describe(place: LogPlace) -> str:
    """Name the place in messages."""
    return (
        f"the log {place}"
        if isinstance(place, Path)
        else f"the topics of {place.bootstrap_servers}"
    )


def logged_events(place: LogPlace, clock: Callable[[], float] = time.monotonic) -> Iterator[Event]:
    """Yield every readable event; raises LogUnavailable if a broker does not answer."""
    if isinstance(place, KafkaSettings):
        from eventlog.kafka_reader import KafkaReader  # noqa: PLC0415 - a library of its own

        group = f"driftline-replay-{secrets.token_hex(4)}"  # it reads all partitions
        yield from _to_end(KafkaReader(place, group, {}, 0.0), place, clock)
    elif place.is_dir():
        reader = SegmentReader(place, {})
        try:
            while records := reader.poll(_CHUNK):
                yield from _readable(records)
        finally:
            reader.close()


def _to_end(reader: Reader, place: KafkaSettings, clock: Callable[[], float]) -> Iterator[Event]:
    heard, latest = clock(), dict[tuple[str, str, int], int]()
    try:
        while True:
            records = reader.poll(_CHUNK)
            yield from _readable(record for record in records if _is_new(record, latest))
            if reader.drained:
                return
            if records:
                heard = clock()
            elif clock() > heard + _PATIENCE_S:
                raise LogUnavailable(
                    f"{describe(place)} returned nothing for {_PATIENCE_S:g} seconds; expected a "
                    "broker that answers, and its topics (driftline topics create)"
                )
    finally:
        reader.close()


def _is_new(record: Record, latest: dict[tuple[str, str, int], int]) -> bool:
    """Return whether the record is no repetition: the forwarder may send a batch twice."""
    writer = record.stream, record.source, record.epoch
    if record.source and record.sequence <= latest.get(writer, -1):
        return False
    latest[writer] = record.sequence
    return True


def _readable(records: Iterable[Record]) -> Iterator[Event]:
    for record in records:
        if not isinstance(record.event, UnreadableEvent):
            yield record.event
