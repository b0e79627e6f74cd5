"""Measure the monitor's cost of ingesting an event (`make bench`).

The steps are those of `driftline monitor`: decode, ledger, window, join, sample and commit. Scoring
runs in a separate process in production, so an immediate empty reply replaces it.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from benchmarks.forwarder import broker_is_named, forwarded
from benchmarks.worker import LogWriter
from eventlog.kafka_reader import KafkaReader
from eventlog.kafka_settings import KafkaSettings
from eventlog.log import Positions, Reader
from eventlog.segments import SegmentReader
from monitoring.consumer import Consumer, tune_garbage_collection
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState, FindVersion
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.journal import Journal
from registry.manifest import (
    Feature,
    Manifest,
    Monitoring,
    Prediction,
    Signature,
    TensorSpec,
    Version,
    WindowPolicy,
)

FEATURES = 30
AT_ONCE = 2_000  # records per transaction
DAY = 86_400_000_000  # time range of the events in microseconds
BEGIN = 1_372_636_800_000_000

MANIFEST = Manifest(
    task="classification",
    features=[Feature(f"f{n}", "numeric", input="x", index=n) for n in range(FEATURES)],
    prediction=Prediction("label", "probabilities", [0, 1], 1),
    target="y",
    held_out=True,
    signature=Signature(
        [TensorSpec("x", "FP32", [-1, FEATURES])],
        [TensorSpec("label", "INT64", [-1]), TensorSpec("probabilities", "FP32", [-1, 2])],
    ),
)

DAILY = WindowPolicy()
DAY_BY_HOUR = WindowPolicy(length=3_600, grace=600, label_wait=86_400)
HOURLY = WindowPolicy(length=3_600, grace=600, label_wait=7_200, max_rows=500)
MANY = 1_000  # models in the measurement with many models

Follow = Callable[[Positions], Reader]


class AtOnce:
    """Replies to every scoring job immediately, without scores."""

    waiting = 0

    def __init__(self) -> None:
        self._replies: list[ScoreReply] = []

    def submit(self, job: ScoreJob) -> None:
        self._replies.append(ScoreReply(key=job.key, scores=[]))

    def replies(self) -> list[ScoreReply]:
        replies, self._replies = self._replies, []
        return replies


def write(folder: Path, predictions: int, *, labels: bool, models: int = 1) -> int:
    """Write a day of one-row events, optionally with labels an hour later; return the number."""
    worker, chance = LogWriter(folder, "bench"), np.random.default_rng(1)
    values = chance.normal(size=(1_000, FEATURES)).astype(np.float32).round(6)
    rows = [[float(f"{value:.7g}") for value in row] for row in values]
    apart, waiting = DAY // predictions, 3_600_000_000 * predictions // DAY
    for n in range(predictions):
        at = BEGIN + n * apart
        worker.predict(n, at, f"bench{n % models}", rows[n % 1_000], n % 2, [0.25, 0.75])
        if labels and n >= waiting:
            worker.label(n - waiting, at, (n - waiting) % 2)
    return worker.close()


class Cost(msgspec.Struct, frozen=True):
    """Cost of ingesting a log."""

    events: int
    seconds: float
    cpu: float  # CPU seconds of all threads
    longest: float  # CPU seconds of the most expensive step


def ingest(database: DatabaseAddress, follow: Follow, window: WindowPolicy) -> Cost:
    """Ingest a whole log and return the cost."""
    tune_garbage_collection()
    with tempfile.TemporaryDirectory() as folder:
        write_reference(Path(folder))
        return _take_in(database, follow, partial(find_version, window, folder))


def _take_in(database: DatabaseAddress, follow: Follow, find: FindVersion) -> Cost:
    journal = Journal(Database(database))
    state = ConsumerState(journal, find)
    reader = follow(state.positions)
    evaluation = Evaluation(journal, state, page="", clock=lambda: 0)
    consumer = Consumer(journal, state, reader, AtOnce(), evaluation)
    while not consumer.step(1) and not consumer.drained:  # the first steps only connect
        pass
    begun, before, longest = time.perf_counter(), time.process_time(), 0.0
    moved, after = True, before
    while moved or not consumer.drained:
        moved = consumer.step(AT_ONCE)
        step, after = after, time.process_time()
        longest = max(longest, after - step)
    seconds = time.perf_counter() - begun
    reader.close()
    row = journal.database.one("SELECT value FROM totals WHERE name = 'monitored_events'")
    journal.database.close()
    assert row is not None
    return Cost(int(str(row[0])), seconds, after - before, longest)


def find_version(window: WindowPolicy, folder: str, model: str, number: str) -> Version:
    """Return a version of any model, with the reference of a folder."""
    manifest = replace(MANIFEST, monitoring=Monitoring(window=window))
    return Version(
        model=model, number=number, digest="d" * 64, created=0, manifest=manifest, path=folder
    )


def write_reference(folder: Path) -> None:
    """Write the reference of all models; some logged values are outside its ranges."""
    values = np.random.default_rng(2).normal(size=(2_000, FEATURES)).astype(np.float32)
    names = [feature.name for feature in MANIFEST.features]
    pq.write_table(pa.table(dict(zip(names, values.T, strict=True))), folder / "reference.parquet")


def ingestion_costs(home: Path, predictions: int = 60_000) -> Table:
    """Measure a day of events in several variants, and from Kafka if a broker is configured."""
    table = Table(title=f"ingested by the monitor, {FEATURES} features per event")
    table.add_column("what")
    for heading in ("events", "CPU µs/event", "events/s of one core", "longest step, s", "MiB"):
        table.add_column(heading, justify="right")
    for name, labels, models, window in (
        ("predictions, from segments", False, 1, DAILY),
        ("predictions and labels, from segments", True, 1, DAILY),
        (f"{MANY:,} models by the hour, from segments", False, MANY, HOURLY),
    ):
        log = home / name / "log"
        many = models > 1  # with many models, windows cost more than events
        write(log, predictions // 5 if many else predictions, labels=labels, models=models)
        cost = ingest(home / name / "monitor.db", partial(SegmentReader, log), window)
        _add(table, name, cost)
        if broker_is_named() and not many:
            settings = forwarded(log, home / name)
            follow = partial(_follow, settings)
            cost = ingest(home / name / "kafka.db", follow, window)
            _add(table, name.replace("segments", "Kafka"), cost)
    return table


def _follow(settings: KafkaSettings, positions: Positions) -> Reader:
    return KafkaReader(settings, settings.topic_prefix, positions, patience=0)


def _add(table: Table, name: str, cost: Cost) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    table.add_row(
        name,
        f"{cost.events:,}",
        f"{1e6 * cost.cpu / cost.events:.1f}",
        f"{cost.events / cost.cpu:,.0f}",
        f"{cost.longest:.2f}",
        f"{memory:,}",
    )


def main() -> None:
    """Ingest a day of predictions without labels; argument 1 is their number."""
    predictions = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        write(log, predictions, labels=False)
        table = Table(title=f"a day of {predictions:,} predictions, windows of an hour")
        for heading in ("", "events", "CPU µs/event", "events/s of one core", "step, s", "MiB"):
            table.add_column(heading, justify="right")
        cost = ingest(Path(folder) / "monitor.db", partial(SegmentReader, log), DAY_BY_HOUR)
        _add(table, f"{cost.seconds:,.0f} s", cost)
        Console().print(table)


if __name__ == "__main__":
    main()
