"""Measure the cost of hundreds of small models in one worker (`make many`).

Registers the same forest under many names. Measures memory and start-up time per model, the cost of
a registry change while they are loaded, and the cost of a prediction.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.compare.generator import ResponseCounter
from benchmarks.compare.http_connection import HttpConnection
from benchmarks.compare.models import Subject, small
from benchmarks.compare.requests import Question, open_inference_json
from benchmarks.service_process import serving
from driftline.convergence import wait_for_workers
from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.limits import LimitChange
from registry.store import Registry

PORT, GRPC_PORT = 3882, 3883
CHANGES = 20
CONNECTIONS = 32
SECONDS = 3.0


class ManyModelsFigures(msgspec.Struct):
    """Results for one number of models."""

    models: int
    ready_s: float
    memory_mib: float
    idle_ms_per_s: float
    change_ms: float  # CPU of the worker per registry change
    followed_ms: float  # time from the command until the worker reports the change
    one_us: float  # CPU of the worker per request, with all requests to one model
    spread_us: float  # CPU of the worker per request, with one model per connection


@click.command()
@click.option("--models", default=300, show_default=True, help="Largest number of models.")
def main(models: int) -> None:
    """Measure one model, a third of the models, and all models, each in a new service."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DRIFTLINE_HOME"] = folder
        os.environ["BENTOML_HOME"] = str(Path(folder) / "bentoml")
        subject = small(Path(folder) / "models")
        home = Home(Path(folder))
        figures = []
        for count in (1, max(2, models // 3), models):
            _register(home, Path(folder) / "models" / "small", count)
            figures.append(_measure(home, subject, count))
    _show(figures)


def _register(home: Home, files: Path, count: int) -> None:
    registry = Registry(home)
    for number in range(1, count):  # the first model is already registered
        version = registry.register(
            files / "model.onnx",
            model=_name(number),
            manifest=files / "manifest.yaml",
            reference=files / "reference.parquet",
        )
        registry.promote(version.model, version.number)


def _name(number: int) -> str:
    return f"small-{number}" if number else "small"


def _measure(home: Home, subject: Subject, count: int) -> ManyModelsFigures:
    started = time.perf_counter()
    with serving(PORT, GRPC_PORT) as service:
        ready = time.perf_counter() - started
        worker = max(
            service.children(recursive=True), key=lambda process: process.memory_info().rss
        )
        memory = worker.memory_info().rss / 2**20
        idle = _idle(worker)
        change, followed = _changes(home, worker, idle)
        requests = [_named(open_inference_json(subject), n % count) for n in range(CONNECTIONS)]
        _ask(worker, requests)  # warm-up
        return ManyModelsFigures(
            models=count,
            ready_s=ready,
            memory_mib=memory,
            idle_ms_per_s=1e3 * idle,
            change_ms=change,
            followed_ms=followed,
            one_us=_ask(worker, [requests[0]] * CONNECTIONS),
            spread_us=_ask(worker, requests),
        )


def _idle(worker: psutil.Process) -> float:
    """Return the worker's CPU seconds per second without requests."""
    before, began = _cpu(worker), time.perf_counter()
    time.sleep(SECONDS)
    return (_cpu(worker) - before) / (time.perf_counter() - began)


def _changes(home: Home, worker: psutil.Process, idle: float) -> tuple[float, float]:
    """Return CPU and wall time per registry change, in milliseconds."""
    registry = Registry(home)
    before, began = _cpu(worker), time.perf_counter()
    for _ in range(CHANGES):
        revision = registry.limit("small", "1", LimitChange(max_requests=1_000))
        wait_for_workers(AllWorkers(home), revision, 60)
    took = time.perf_counter() - began
    return 1e3 * (_cpu(worker) - before - idle * took) / CHANGES, 1e3 * took / CHANGES


def _named(question: Question, number: int) -> Question:
    path = question.path.replace("/small/", f"/{_name(number)}/")
    return msgspec.structs.replace(question, path=path)


def _ask(worker: psutil.Process, questions: Sequence[Question]) -> float:
    """Return CPU microseconds per request, with one connection per question."""
    before = _cpu(worker)
    answered = uvloop.run(_generate(questions))
    return 1e6 * (_cpu(worker) - before) / answered


async def _generate(questions: Sequence[Question]) -> int:
    counter = ResponseCounter(time.perf_counter() + SECONDS)
    callers = [HttpConnection(PORT, question, counter.answered).run() for question in questions]
    await asyncio.gather(*callers)
    assert not counter.failed, f"{counter.failed} requests failed"
    return len(counter.latencies)


def _cpu(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _show(figures: Sequence[ManyModelsFigures]) -> None:
    table = Table(title="one worker, the same forest of 100 trees under many names")
    for heading in (
        "models", "ready s", "MiB", "idle CPU ms/s", "a change: CPU ms", "followed ms",
        "one model: CPU µs/request", "spread: CPU µs/request",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for figure in figures:
        values = list(msgspec.structs.asdict(figure).values())
        table.add_row(str(values[0]), *(f"{value:,.1f}" for value in values[1:]))
    console = Console(width=140)
    console.print(table)
    first, last = figures[0], figures[-1]
    more = last.models - first.models
    console.print(
        f"each further model: {(last.memory_mib - first.memory_mib) / more:.2f} MiB, "
        f"{1e3 * (last.ready_s - first.ready_s) / more:.1f} ms until ready"
    )


if __name__ == "__main__":
    main()
