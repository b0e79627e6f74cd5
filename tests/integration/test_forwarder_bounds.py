"""An outage's cost for the forwarder: delay, little memory, and a fast catch-up."""

import time
from pathlib import Path
from typing import Any

import psutil

from eventlog.errors import NotAcknowledged
from eventlog.events import PredictionEvent, Tensor
from eventlog.forwarder import Cursors, Forwarder
from eventlog.kafka import KafkaSettings, KafkaSink, create_topics
from eventlog.log import Position
from eventlog.segments import SegmentReader, SegmentWriter
from tests.depth import by_depth

MEBIBYTE = 1 << 20
OUTAGE = by_depth(120.0, 600.0)  # seconds, of a clock that only moves while the forwarder waits
INGEST = 150  # events a second meanwhile
ROW = [0.123456] * 30


def _append(writer: SegmentWriter, count: int, cells: int = 1) -> None:
    first = writer.next_sequence
    writer.append(
        [
            PredictionEvent(
                source=writer.source,
                epoch=writer.epoch,
                sequence=first + n,
                time=1,
                received=first + n,
                prediction_id=f"p{first + n}",
                model="flights",
                protocol="rest",
                outcome="ok",
                inputs={"x": Tensor("FP32", [cells, 30], ROW * cells)},
            )
            for n in range(count)
        ]
    )


def test_minutes_without_a_broker_use_no_memory_and_are_caught_up(
    broker: Any, tmp_path: Path
) -> None:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap, acknowledge_within=0.2)
    writer = SegmentWriter.claim(tmp_path / "log", "host")
    cursors, sink = Cursors(tmp_path / "forwarded.json"), KafkaSink(settings)
    forwarder = Forwarder(lambda at: SegmentReader(tmp_path / "log", at), sink, cursors, settings)
    process = psutil.Process()
    resident: list[int] = []
    away, tries = 0.0, 0

    def wait(seconds: float) -> bool:
        nonlocal away
        away += seconds
        for _ in range(int(seconds * INGEST) // 50):
            _append(writer, 50)
        resident.append(process.memory_info().rss)
        return away >= OUTAGE

    def failed(_: NotAcknowledged, __: float) -> None:
        nonlocal tries
        tries += 1

    _append(writer, 2000)
    forwarder.run(wait, failed)
    grown = max(resident) - resident[2]
    backlog = writer.next_sequence
    sink.close()

    broker.start()
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap)
    create_topics(settings, partitions=6, replicas=1)
    sink = KafkaSink(settings)
    forwarder = Forwarder(lambda at: SegmentReader(tmp_path / "log", at), sink, cursors, settings)
    forwarder.step()
    started, spent = time.monotonic(), time.thread_time()
    before = cursors.positions[writer.source].sequence
    while forwarder.step():
        pass
    rate = (backlog - before) / (time.monotonic() - started)
    cost = 1e6 * (time.thread_time() - spent) / (backlog - before)
    print(
        f"\n{OUTAGE / 60:.0f} minutes without a broker: {tries} tries, {backlog} events waited, "
        f"{grown / MEBIBYTE:.1f} MiB grown; then {rate:,.0f} events/s, "
        f"{cost:.0f} us of the forwarder's thread each"
    )
    assert cursors.positions[writer.source] == Position(writer.epoch, backlog)
    assert grown < 50 * MEBIBYTE
    sink.close()
    cursors.close()


def test_large_events_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    for _ in range(2):
        writer = SegmentWriter.claim(tmp_path, "host")
        for _ in range(60):
            _append(writer, 1, cells=1000)  # 270 kB each
    reader = SegmentReader(tmp_path, {})
    seen: list[int] = []
    while records := reader.poll(2000):
        assert sum(len(record.value) for record in records) < 20 * MEBIBYTE
        seen += [record.sequence for record in records]
    assert seen == sorted(seen)
    assert len(seen) == 120
    assert reader.drained
