"""Measure the cost of forwarding an event to Kafka (`make bench`, if a broker is configured).

Set DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS. The topics get a random prefix and are not deleted.
"""

import os
import secrets
import time
from pathlib import Path

import msgspec
from rich.table import Table

from eventlog.forwarder import Cursors, Forwarder
from eventlog.kafka import KafkaSink, create_topics
from eventlog.kafka_settings import KafkaSettings
from eventlog.segments import SegmentReader
from eventlog.settings import from_environment

_PREFIX = "DRIFTLINE_KAFKA_"


def broker_is_named() -> bool:
    """Whether the environment configures a broker."""
    return f"{_PREFIX}BOOTSTRAP_SERVERS" in os.environ


def _fresh_topics() -> KafkaSettings:
    settings = from_environment(KafkaSettings, _PREFIX)
    settings = msgspec.structs.replace(settings, topic_prefix=f"bench-{secrets.token_hex(4)}")
    create_topics(settings, partitions=6, replicas=1)
    return settings


def forwarded(log: Path, home: Path) -> KafkaSettings:
    """Forward a whole log to new topics; return their settings."""
    settings = _fresh_topics()
    cursors, sink = Cursors(home / "forwarded.json"), KafkaSink(settings)
    forwarder = Forwarder(lambda at: SegmentReader(log, at), sink, cursors, settings)
    idle = 0
    while idle < 3:  # the first steps only connect and forward nothing
        idle = 0 if forwarder.step() else idle + 1
    sink.close()
    cursors.close()
    return settings


def forward(log: Path, home: Path) -> Table:
    """Forward a whole log; return a table with the CPU cost of all threads of this process."""
    settings = _fresh_topics()
    cursors, sink = Cursors(home / "forwarded.json"), KafkaSink(settings)
    forwarder = Forwarder(lambda at: SegmentReader(log, at), sink, cursors, settings)
    forwarder.step()  # the first step only connects
    started, spent, count = time.perf_counter(), time.process_time(), 0
    while moved := forwarder.step():
        count += moved
    seconds, cost = time.perf_counter() - started, time.process_time() - spent
    sink.close()
    cursors.close()
    table = Table(title="forwarded to Kafka, acknowledged by all in-sync replicas")
    for heading in ("events", "events/s", "CPU µs/event", "events/s of one core"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{count:,}", f"{count / seconds:,.0f}", f"{1e6 * cost / count:.1f}", f"{count / cost:,.0f}"
    )
    return table
