"""Measure several monitors with one PostgreSQL database: `python -m benchmarks.shared_monitors`.

The monitors first join their group, and start to ingest when all events are in the topics. Empty
replies replace scoring. Set DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS and DRIFTLINE_MONITOR_DATABASE. The
PostgreSQL server must run on this machine, because its CPU time is also measured.
"""

import argparse
import multiprocessing
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from multiprocessing.context import SpawnContext
from multiprocessing.queues import Queue
from pathlib import Path

import msgspec
import numpy as np
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.ingestion import BEGIN, DAY, FEATURES, HOURLY, AtOnce, find_version, write_reference
from eventlog import wire
from eventlog.division import Division
from eventlog.events import PredictionEvent, Tensor
from eventlog.kafka import KafkaSink, create_topics, message
from eventlog.kafka_reader import KafkaReader
from eventlog.kafka_settings import KafkaSettings
from eventlog.log import Record
from eventlog.settings import from_environment
from eventlog.shards import tag_of
from monitoring.consumer import Consumer, tune_garbage_collection
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.partitions.group import PartitionGroup, TrackedPart
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store

AT_ONCE = 2_000  # records of a partition per transaction
SENT_AT_ONCE = 1_000
SPAN = DAY // 24  # time span of the events, short so that few windows close


class SharedMonitorsFigures(msgspec.Struct, frozen=True):
    """CPU seconds of all monitors and of the PostgreSQL server for one log."""

    events: int
    seconds: float
    monitors: float
    server: float
    commits: int


def events(number: int, models: int) -> Iterator[Record]:
    """Generate one-row requests to one model after another."""
    chance, numbers = np.random.default_rng(1), Counter[str]()
    rows = [[float(f"{x:.7g}") for x in row] for row in chance.normal(size=(1_000, FEATURES))]
    for n in range(number):
        at, model = BEGIN + n * SPAN // number, f"bench{n % models}"
        tag = tag_of(model)
        event = PredictionEvent(
            source="bench-0",
            epoch=1,
            sequence=n,
            time=at,
            received=at,
            shard=tag[:3],
            number=numbers[tag[:3]],
            prediction_id=f"{tag}-{n}",
            model=model,
            version="1",
            digest="d" * 64,
            protocol="rest",
            outcome="ok",
            rows=1,
            total_us=500,
            inputs={"x": Tensor("FP32", [1, FEATURES], rows[n % 1_000])},
            outputs={
                "label": Tensor("INT64", [1], [n % 2]),
                "probabilities": Tensor("FP32", [1, 2], [0.25, 0.75]),
            },
        )
        numbers[tag[:3]] += 1
        yield Record("bench-0", 1, n, event, wire.encode(event))


def send(settings: KafkaSettings, number: int, models: int, rate: float) -> None:
    """Send the events, at `rate` events per second or as fast as possible."""
    sink, began, sent = KafkaSink(settings), time.monotonic(), 0
    at_once = max(1, int(rate / 20)) if rate else SENT_AT_ONCE
    messages = (message(record, settings) for record in events(number, models))
    while batch := list(islice(messages, at_once)):
        if rate:
            time.sleep(max(0.0, began + sent / rate - time.monotonic()))
        sink.send(batch)
        sent += len(batch)
    sink.close()


class Control:
    """Signals between the measurement and the monitors' processes."""

    def __init__(self, context: SpawnContext) -> None:
        self.pause = context.Event()
        self.ingest = context.Event()
        self.end = context.Event()
        self.cpu_seconds: Queue[float] = context.Queue()


def monitor(where: str, settings: KafkaSettings, reference: str, control: Control) -> None:
    """Join the group, pause, and ingest everything; runs in a separate process."""
    tune_garbage_collection()
    database = Database(where, reconnects=False)
    find = partial(find_version, HOURLY, reference)

    def open_partition(division: Division, part: TrackedPart) -> Consumer:
        journal = Journal(database, division.number)
        state = ConsumerState(journal, find, division=division)
        evaluation = Evaluation(journal, state, page="", clock=lambda: 0)
        # Steps are limited by CPU time, so that other load on the machine does not shorten them.
        clock = time.process_time
        return Consumer(journal, state, part, AtOnce(), evaluation, clock=clock)

    group = PartitionGroup(database, open_partition, holder=str(os.getpid()))
    reader = KafkaReader(
        settings, settings.topic_prefix, group.positions, patience=30, claim=group.claim
    )
    group.set_reader(reader)
    while not control.pause.wait(0.1):
        group.step(AT_ONCE)
    while not control.ingest.wait(5):
        database.one("SELECT 1")  # an idle connection would be closed
    before = time.process_time()
    group.run(control.end.wait, AT_ONCE, idle_pause=0.05)
    control.cpu_seconds.put(time.process_time() - before)
    reader.close()
    database.close()


def measure(
    number: int, models: int, partitions: int, monitors: int, rate: float = 0.0
) -> SharedMonitorsFigures:
    """Return the figures for a number of monitors with their own topics and tables.

    If `rate` is not 0, events are sent at this rate per second during the ingestion.
    """
    url = os.environ["DRIFTLINE_MONITOR_DATABASE"]
    name = f"bench_{secrets.token_hex(4)}"
    settings = msgspec.structs.replace(
        from_environment(KafkaSettings, "DRIFTLINE_KAFKA_"), topic_prefix=name
    )
    create_topics(settings, partitions=partitions, replicas=1)
    context = multiprocessing.get_context("spawn")
    control = Control(context)
    with psycopg.connect(url, autocommit=True) as server, tempfile.TemporaryDirectory() as folder:
        server.execute(f"CREATE SCHEMA {name}".encode())
        write_reference(Path(folder))
        where = f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
        store = Store(where)
        processes = [
            context.Process(target=monitor, args=(where, settings, folder, control))
            for _ in range(monitors)
        ]
        for process in processes:
            process.start()
        try:
            _await(lambda: _holders(store, partitions) == monitors)
            control.pause.set()
            sending = partial(send, settings, number, models, rate)
            if not rate:
                sending()
            before = _server_cpu(server), _commits(server), time.perf_counter()
            control.ingest.set()
            if rate:
                sending()
            polls = _await(lambda: store.totals().get("monitored_events", 0) >= number)
            seconds = time.perf_counter() - before[2]
            control.end.set()
            spent = sum(control.cpu_seconds.get() for _ in range(monitors))
            return SharedMonitorsFigures(
                events=number,
                seconds=seconds,
                monitors=spent,
                server=_server_cpu(server) - before[0],
                commits=_commits(server) - before[1] - polls,
            )
        finally:
            for process in processes:
                process.terminate()
                process.join()
            server.execute(f"DROP SCHEMA {name} CASCADE".encode())


def _holders(store: Store, partitions: int) -> int:
    """Return the number of monitors with partitions; 0 while a partition has no monitor."""
    holders = [part.holder for part in store.partitions()]
    return len(set(holders)) if all(holders) and len(holders) == partitions else 0


def _server_cpu(server: psycopg.Connection[tuple[object, ...]]) -> float:
    """Return the CPU seconds of all processes of the server, including ended processes."""
    parent = psutil.Process(server.info.backend_pid).parent()
    assert parent is not None, "the database's server runs on another machine"
    spent = sum(parent.cpu_times()[:4])  # the CPU time of the server and of its ended children
    for child in parent.children():
        with suppress(psutil.NoSuchProcess):
            spent += sum(child.cpu_times()[:2])
    return float(spent)


def _commits(server: psycopg.Connection[tuple[object, ...]]) -> int:
    row = server.execute(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def _await(condition: Callable[[], bool]) -> int:
    """Wait for a condition; return the number of evaluations."""
    polls = 1
    while not condition():
        time.sleep(0.2)
        polls += 1
    return polls


def main() -> None:
    """Print one line for each number of partitions and monitors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--partitions", type=int, nargs="+", default=[6, 12])
    parser.add_argument("--monitors", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rate", type=float, default=0.0, help="Events per second; 0: a backlog.")
    arguments = parser.parse_args()
    how = f"{arguments.rate:,.0f} a second" if arguments.rate else "a backlog"
    table = Table(title=f"{arguments.events:,} events of {arguments.models:,} models, {how}")
    for heading in (
        "partitions", "monitors", "monitors, CPU µs/event", "PostgreSQL, CPU µs/event",
        "events a commit", "events/s",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for partitions in arguments.partitions:
        for monitors in arguments.monitors:
            figures = measure(
                arguments.events, arguments.models, partitions, monitors, arguments.rate
            )
            table.add_row(
                f"{partitions}",
                f"{monitors}",
                f"{1e6 * figures.monitors / figures.events:.0f}",
                f"{1e6 * figures.server / figures.events:.0f}",
                f"{figures.events / max(1, figures.commits):,.0f}",
                f"{figures.events / figures.seconds:,.0f}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
