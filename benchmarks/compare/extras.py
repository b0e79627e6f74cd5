"""Measure the gain of a second worker and of batching."""

import time

import msgspec
import numpy as np
import onnxruntime
from rich.console import Console

from benchmarks.compare import tables
from benchmarks.compare.contenders import BARE, CONTENDERS, driftline
from benchmarks.compare.measurement import Measurement, Rounds, measure, medians
from benchmarks.compare.models import Subject

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CONNECTIONS = (16, 64, 256)


def workers(console: Console, subject: Subject, plan: Rounds) -> None:
    """Compare one worker with two, with one row per request as JSON."""
    runs: dict[tuple[int, int], list[Measurement]] = {}
    busy = msgspec.structs.replace(plan, connections=(32, 128))
    (ours,) = (contender for contender in CONTENDERS if contender.name == "Driftline, JSON")
    for _ in range(plan.rounds):
        for count in (1, 2):
            command = driftline("--workers", str(count))
            contender = msgspec.structs.replace(ours, command=command, floor=BARE)
            for number, measurement in measure(contender, subject, busy):
                runs.setdefault((number, count), []).append(measurement)
    table = tables.plain("connections", "workers", "requests/s", "of one", "CPU µs/request")
    table.add_column("generator's share of a core", justify="right")
    for (number, count), measured in sorted(runs.items()):
        figure, alone = medians(measured), medians(runs[number, 1])
        table.add_row(
            str(number),
            str(count),
            tables.rate(figure),
            f"{figure.requests_s / alone.requests_s:.2f}",
            f"{figure.cpu_us:,.0f}",
            f"{figure.generator:.0%}",
        )
    tables.show(console, f"Workers: {subject.title}", table)


def batching(console: Console, subject: Subject, plan: Rounds) -> None:
    """Compare many one-row connections with the best batch in ONNX Runtime that they can fill."""
    (ours,) = (contender for contender in CONTENDERS if contender.name == "Driftline, JSON")
    busy = msgspec.structs.replace(plan, connections=_CONNECTIONS)
    served: dict[int, list[Measurement]] = {}
    alone: list[dict[int, tuple[float, float]]] = []
    for _ in range(plan.rounds):
        alone.append({size: _alone(subject, size, plan.seconds / 10) for size in _SIZES})
        for number, measurement in measure(ours, subject, busy):
            served.setdefault(number, []).append(measurement)
    rows = {size: np.median([times[size] for times in alone], axis=0) for size in _SIZES}
    table = tables.plain("what", "batch", "rows/s", "share of the best", "CPU µs/row")
    for size, (rate, cpu) in rows.items():
        table.add_row("ONNX Runtime in process", str(size), f"{rate:,.0f}", "", f"{cpu:,.0f}")
    for number, measured in served.items():
        figure = medians(measured)
        fillable = max(rate for size, (rate, _) in rows.items() if size <= number)
        name, share = f"Driftline, {number} connections", figure.requests_s / fillable
        table.add_row(name, "its own", tables.rate(figure), f"{share:.0%}", f"{figure.cpu_us:,.0f}")
    tables.show(console, f"Batching: {subject.title}", table)


def _alone(subject: Subject, size: int, seconds: float) -> tuple[float, float]:
    """Return rows per second and CPU microseconds per row, for one batch size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        subject.path, options, providers=["CPUExecutionProvider"]
    )
    rows = np.repeat(subject.rows[:1], size, axis=0)
    session.run(None, {"x": rows})
    runs, started, cpu = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - started) < seconds or not runs:
        session.run(None, {"x": rows})
        runs += 1
    done = runs * size
    return done / passed, 1e6 * (time.process_time() - cpu) / done
