"""Open readers of the log, segments or Kafka, for processes other than the monitor."""

import secrets
from collections.abc import Mapping

from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.layout import positions_at
from eventlog.log import Position, Reader
from eventlog.segments import SegmentReader
from eventlog.settings import Home, from_environment
from monitoring.settings import MonitorSettings


def open_reader(
    home: Home, settings: MonitorSettings, role: str, since: int, at: Mapping[str, Position]
) -> Reader:
    """Return a reader of all partitions or sources from positions `at` on.

    If `at` is empty, the reader begins at time `since`, in microseconds since the epoch.
    """
    if settings.source == "segments":
        return SegmentReader(home.log, at or positions_at(home.log, since / 1e6))
    from eventlog.kafka_reader import KafkaReader  # noqa: PLC0415 - a separate library

    kafka = from_environment(KafkaSettings, KAFKA_PREFIX)
    # A separate group, so that this reader gets all partitions, not a share of the monitors'.
    group = f"{settings.group}-{role}-{secrets.token_hex(4)}"
    return KafkaReader(kafka, group, at, settings.patience)
