"""Measure the replay of a day of ten million predictions (`make replay`).

Write the log and register a version, then run `driftline replay` as a user does. One process
ingests, another scores. CPU and memory of both are measured from outside.
"""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import onnx
import pandas as pd
import psutil
import yaml
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

from benchmarks.worker import LogWriter
from eventlog.settings import Home
from monitoring.storage.store import Store
from registry.store import Registry

FEATURES = 30
DAY = 86_400_000_000  # microseconds
BEGIN = 1_372_636_800_000_000
DIFFERENT = 5_000  # number of distinct rows that the events repeat
WINDOW = {"length": 3_600, "grace": 600, "label_wait": 86_400}


@click.command()
@click.option("--predictions", default=10_000_000, show_default=True, help="Predictions per day.")
@click.option("--labelled", default=0.1, show_default=True, help="Share that gets labels later.")
@click.option("--workers", default=2, show_default=True, help="Sources of the log.")
def main(predictions: int, labelled: float, workers: int) -> None:
    """Write a day's log, replay it, and print the cost."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        os.environ |= {"DRIFTLINE_HOME": folder, "BENTOML_HOME": f"{folder}/bentoml"}
        stream = _register(home)
        _write(home.log, stream, predictions, labelled, workers)
        size = sum(path.stat().st_size for path in home.log.rglob("*.log"))
        replayed = _replay(home.root / "again")
        _show(replayed, Store(home.root / "again" / "monitor.db"), size)


class Taken(msgspec.Struct, frozen=True):
    """Cost of all processes of one command."""

    seconds: float
    cpu: float  # CPU seconds of all processes
    memory: int  # peak memory of all processes in bytes


class _RepeatedRows(msgspec.Struct, frozen=True):
    """Rows and probabilities that the events repeat."""

    rows: list[list[float]]
    probabilities: list[list[float]]


def _register(home: Home) -> _RepeatedRows:
    """Register a logistic regression on one tensor; return rows with a slight drift."""
    weights = np.random.default_rng(0).normal(0, 0.3, FEATURES).astype(np.float32)
    manifest = {
        "task": "classification",
        "held_out": True,
        "target": "truth",
        "features": [
            {"name": f"f{at}", "kind": "numeric", "input": "x", "index": at}
            for at in range(FEATURES)
        ],
        "prediction": {"label": "label", "probabilities": "probabilities", "classes": [0, 1]},
        "monitoring": {"window": WINDOW},
    }
    root = home.root / "model"
    root.mkdir()
    (root / "model.onnx").write_bytes(_model(weights).SerializeToString())
    (root / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    reference = _values(5_000, seed=1)
    frame = pd.DataFrame({f"f{at}": reference[:, at] for at in range(FEATURES)})
    frame["truth"] = _truths(reference, weights)
    frame.to_parquet(root / "reference.parquet", index=False)
    registry = Registry(home)
    version = registry.register(
        root / "model.onnx",
        model="day",
        manifest=root / "manifest.yaml",
        reference=root / "reference.parquet",
    )
    registry.promote("day", version.number)
    rows = _values(DIFFERENT, seed=2)
    yes = _yes(rows, weights)
    exact = [[float(f"{value:.9g}") for value in row] for row in rows]
    return _RepeatedRows(exact, [[1 - chance, chance] for chance in yes.tolist()])


def _values(rows: int, *, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype(np.float32)


def _yes(rows: Any, weights: Any) -> Any:
    return 1 / (1 + np.exp(-(rows @ weights)))


def _truths(rows: Any, weights: Any) -> Any:
    return (np.random.default_rng(3).random(len(rows)) < _yes(rows, weights)).astype(np.int64)


def _model(weights: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "day",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, FEATURES])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [FEATURES, 1], weights),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _write(
    folder: Path, stream: _RepeatedRows, predictions: int, labelled: float, workers: int
) -> None:
    """Write the day: workers take turns with predictions; labels follow an hour later."""
    sources = [LogWriter(folder, "serving") for _ in range(workers)]
    later, chance = predictions // 24, np.random.default_rng(4)
    labelled_rows = chance.random(predictions) < labelled
    truths = (chance.random(predictions) < 0.5).tolist()
    for n in range(predictions):
        at, source, place = BEGIN + n * DAY // predictions, sources[n % workers], n % DIFFERENT
        chances = stream.probabilities[place]
        source.predict(n, at, "day", stream.rows[place], int(chances[1] > chances[0]), chances)
        if n >= later and labelled_rows[n - later]:
            source.label(n - later, at, int(truths[n - later]))
    for source in sources:
        source.close()


def _replay(into: Path) -> Taken:
    before, begun = _cpu(), time.perf_counter()
    command = [sys.executable, "-m", "driftline", "replay", "--into", str(into)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
    with _watched(process.pid) as worst:
        status = process.wait()
    assert status == 0, f"driftline replay ended with status {status}"
    return Taken(time.perf_counter() - begun, _cpu() - before, worst[0])


def _cpu() -> float:
    """Return the CPU seconds of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Sample the memory of a process and its children twice per second; yield the peak."""
    worst, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            worst[0] = max(worst[0], _memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield worst
    finally:
        over.set()
        thread.join()


def _memory(pid: int) -> int:
    """Return the resident memory of a process and its children; shared pages count twice."""
    try:
        process = psutil.Process(pid)
        return sum(
            process.memory_info().rss for process in [process, *process.children(recursive=True)]
        )
    except psutil.NoSuchProcess:
        return 0


def _show(replayed: Taken, store: Store, size: int) -> None:
    events = store.totals()["monitored_events"]
    results = store.results("day", "1")
    table = Table(title=f"{events:,} events, {size / 2**30:.1f} GiB of segments, replayed")
    for heading in ("by the clock, s", "CPU s", "CPU µs/event", "MiB at most", "windows", "rows"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{replayed.seconds:,.0f}",
        f"{replayed.cpu:,.0f}",
        f"{1e6 * replayed.cpu / events:.1f}",
        f"{replayed.memory >> 20:,}",
        f"{sum(any(s.name == 'drifted_share' for s in r.scores) for r in results)} scored",
        f"{sum(result.rows for result in results):,}",
    )
    Console(width=120).print(table)
    store.close()


if __name__ == "__main__":
    main()
