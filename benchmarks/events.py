"""Measure the cost of constructing, encoding, appending and reading an event (`make bench`)."""

import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.forwarder import broker_is_named, forward
from benchmarks.ingestion import ingestion_costs
from eventlog import wire
from eventlog.events import PredictionEvent, Tensor
from eventlog.segments import SegmentReader, SegmentWriter

FEATURES = 30
EVENTS = 20_000

console = Console()


def main() -> None:
    """Measure and print the costs."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _events(home / "log")
        if broker_is_named():
            console.print(forward(home / "log", home))
        else:
            console.print("forwarding not measured: DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS is not set")
        console.print(ingestion_costs(home / "watched"))


def _events(folder: Path) -> None:
    writer = SegmentWriter.claim(folder, "bench")
    event = _event(writer, 0)
    table = Table(title=f"one event of {FEATURES} features, {len(wire.encode(event)):,} bytes")
    table.add_column("what")
    table.add_column("CPU µs/event", justify="right")
    for batch in (1, 32):
        cost = _cost(lambda n=batch: _append(writer, n), EVENTS // batch) / batch
        table.add_row(f"construct, encode and append, {batch} together", f"{cost:.1f}")
    reader = SegmentReader(folder, {})
    started, count = time.process_time(), 0
    while records := reader.poll(2000):
        count += len(records)
    cost = 1e6 * (time.process_time() - started) / count
    table.add_row("read and decode", f"{cost:.1f}")
    console.print(table)


def _append(writer: SegmentWriter, count: int) -> None:
    writer.append([_event(writer, n) for n in range(count)])


def _event(writer: SegmentWriter, n: int) -> PredictionEvent:
    values: list[Any] = [0.123456] * FEATURES
    return PredictionEvent(
        source=writer.source,
        epoch=writer.epoch,
        sequence=writer.next_sequence + n,
        time=1_372_636_800_000_000,
        received=1_372_636_800_000_000,
        prediction_id="11ff9d76658d-0",
        model="bench",
        version="1",
        digest="d" * 64,
        protocol="rest",
        outcome="ok",
        rows=1,
        batch_id="11ff9d76658d-b0",
        batch_rows=32,
        inputs={"x": Tensor("FP32", [1, FEATURES], values)},
        outputs={"label": Tensor("INT64", [1], [1])},
    )


def _cost(work: Any, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        work()
    return 1e6 * (time.process_time() - started) / times


if __name__ == "__main__":
    main()
