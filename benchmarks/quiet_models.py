"""Measure a monitor of many models, of which few are busy: `python -m benchmarks.quiet_models`.

First, every model gets one request. Then only the busy models get requests, in steps as small as
with live traffic. Finally, the monitor is restarted, and its page and metrics are read.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from benchmarks.ingestion import BEGIN, FEATURES, HOURLY, AtOnce, find_version, write_reference
from benchmarks.worker import LogWriter
from eventlog.segments import SegmentReader
from monitoring.consumer import Consumer, tune_garbage_collection
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.web.metrics.collector import exposition
from monitoring.web.overview import read_overview

_SECOND = 1_000_000


class QuietModelsFigures(msgspec.Struct):
    """Results; CPU seconds, unless the name states another unit."""

    first_request_ms: float  # per model
    steps: int
    step_ms: float  # median
    longest_step_ms: float
    events_per_core: float  # events per CPU second of the busy models
    start_s: float
    memory_mib: int
    metrics_s: float
    metrics_mib: float
    series: int
    overview_s: float


def write(log: Path, models: int, busy: int, events: int) -> None:
    """Write a request for every model, then `events` for the busy models, over half an hour."""
    worker, chance = LogWriter(log, "bench"), np.random.default_rng(1)
    row = [float(f"{value:.7g}") for value in chance.normal(size=FEATURES)]
    for n in range(models):
        worker.predict(n, BEGIN + n * 1_000, f"model{n}", row, n % 2, [0.25, 0.75])
    apart = 1_800 * _SECOND // events
    for n in range(events):
        at = BEGIN + 60 * _SECOND + n * apart
        worker.predict(models + n, at, f"model{n % busy}", row, n % 2, [0.25, 0.75])
    worker.close()


def _open(home: Path, reference: str) -> tuple[Journal, ConsumerState, Consumer]:
    journal = Journal(Database(home / "monitor.db"))
    state = ConsumerState(journal, partial(find_version, HOURLY, reference))
    reader = SegmentReader(home / "log", state.positions)
    evaluation = Evaluation(journal, state, page="", clock=lambda: 0)
    # Steps are limited by CPU time, so that other load on the machine does not shorten them.
    clock = time.process_time
    return journal, state, Consumer(journal, state, reader, AtOnce(), evaluation, clock=clock)


def _cpu(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def measure(models: int, busy: int, events: int, at_once: int) -> QuietModelsFigures:
    """Return the results for a monitor on SQLite and segments."""
    tune_garbage_collection()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_reference(home)
        write(home / "log", models, busy, events)
        journal, _, consumer = _open(home, folder)
        first = _cpu(lambda: [consumer.step(1_000) for _ in range(models // 1_000)])
        steps = [_cpu(lambda: consumer.step(at_once)) for _ in range(events // at_once)]
        journal.database.close()
        opened: list[tuple[Journal, ConsumerState, Consumer]] = []
        start = _cpu(lambda: opened.append(_open(home, folder)))
        opened[0][0].database.close()
        store, texts = Store(home / "monitor.db"), list[bytes]()
        metrics = _cpu(lambda: texts.append(exposition(store)))
        overview = _cpu(lambda: read_overview(store, None))
        return QuietModelsFigures(
            first_request_ms=1e3 * first / models,
            steps=len(steps),
            step_ms=1e3 * median(steps),
            longest_step_ms=1e3 * max(steps),
            events_per_core=events / sum(steps),
            start_s=start,
            memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            metrics_s=metrics,
            metrics_mib=len(texts[0]) / (1 << 20),
            series=sum(not line.startswith(b"#") for line in texts[0].splitlines()),
            overview_s=overview,
        )


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--busy", type=int, default=200)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=200, help="Records per step.")
    options = parser.parse_args()
    figures = measure(options.models, options.busy, options.events, options.at_once)
    for name, value in msgspec.structs.asdict(figures).items():
        print(f"{name:18}{value:>12,.2f}" if isinstance(value, float) else f"{name:18}{value:>12,}")


if __name__ == "__main__":
    main()
