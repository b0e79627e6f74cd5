"""Compare `driftline predict` with bare ONNX Runtime on one file: `python -m benchmarks.batch`.

Bare ONNX Runtime reads the same chunks of the file into one array and runs them in the same number
of threads. It checks nothing, and writes neither predictions nor events.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.compare.models import small
from driftline.batch.command import BatchRequest, run_job
from eventlog.settings import Home
from registry.store import Registry

FEATURES = 30
CHUNK = 10_000
_PART = 500_000  # rows of the file that are generated at once


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Rows of the file.")
@click.option("--workers", default=2, show_default=True, help="Threads of each contender.")
@click.option("--rounds", default=2, show_default=True, help="Measurements of each contender.")
@click.option("--only", default="", hidden=True, help="Measure one contender in this process.")
def main(rows: int, workers: int, rounds: int, only: str) -> None:
    """Measure and print rows per second, CPU and memory."""
    if only:
        print(json.dumps(_measure(only, workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DRIFTLINE_HOME"] = str(Path(folder) / "home")
        os.environ["BENTOML_HOME"] = str(Path(folder) / "bentoml")
        os.environ["BENCHMARK_FOLDER"] = folder
        registry = Registry(Home.from_environment())
        small(Path(folder) / "models")  # also registers a copy with sampled payloads
        registry.promote("small", "1")
        _make(Path(folder) / "in.parquet", rows)
        table = Table(title=f"{rows:,} rows of {FEATURES} features, 100 trees, {workers} threads")
        for name in ("what", "rows/s", "CPU µs/row", "MB"):
            table.add_column(name, justify="left" if name == "what" else "right")
        for name in [*CONTENDERS] * rounds:
            cost = _child(name, workers)
            figures = (rows / cost["wall"], cost["cpu"] / rows * 1e6, cost["mb"])
            table.add_row(
                name,
                *(f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}" for figure in figures),
            )
        Console().print(table)


def _make(path: Path, rows: int) -> None:
    random, writer = np.random.default_rng(1), None
    for start in range(0, rows, _PART):
        values = random.normal(size=(min(_PART, rows - start), FEATURES)).astype(np.float32)
        table = pd.DataFrame(values, columns=[f"f{n}" for n in range(FEATURES)])
        part = pa.Table.from_pandas(table)
        writer = writer or pq.ParquetWriter(path, part.schema, compression="none")
        writer.write_table(part, row_group_size=131_072)
    assert writer is not None
    writer.close()


def _child(name: str, workers: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.batch", "--only", name, "--workers", str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    cost: dict[str, float] = json.loads(done.stdout)
    return cost


def _measure(name: str, workers: int) -> dict[str, float]:
    folder = Path(os.environ["BENCHMARK_FOLDER"])
    version = Registry(Home.from_environment()).version("small", "1")
    run = CONTENDERS[name](folder, Path(version.path) / "model.onnx", workers)
    began, used = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    status = Path("/proc/self/status").read_text()  # getrusage would return the parent's peak
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"wall": wall, "cpu": cpu, "mb": int(peak.split()[1]) / 1024}


def _bare(folder: Path, model: Path, workers: int) -> Callable[[], None]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)

    def predict(batch: Any) -> None:
        rows = np.empty((len(batch), FEATURES), np.float32)
        for n in range(FEATURES):
            rows[:, n] = batch.column(n).to_numpy(zero_copy_only=False)
        session.run(None, {"x": rows})

    def run() -> None:
        waiting: deque[Future[None]] = deque()
        with pq.ParquetFile(folder / "in.parquet") as file, ThreadPoolExecutor(workers) as pool:
            for batch in file.iter_batches(CHUNK, use_threads=False):
                waiting.append(pool.submit(predict, batch))
                if len(waiting) > workers + 1:
                    waiting.popleft().result()
            for future in waiting:
                future.result()

    return run


def _driftline(folder: Path, _model: Path, workers: int) -> Callable[[], None]:
    request = BatchRequest(
        model="small",
        source=str(folder / "in.parquet"),
        output=str(folder / "out.parquet"),
        chunk=CHUNK,
        workers=workers,
    )

    def run() -> None:
        run_job(request, quiet=True)

    return run


CONTENDERS: dict[str, Callable[[Path, Path, int], Callable[[], None]]] = {
    "bare ONNX Runtime": _bare,
    "driftline predict": _driftline,
}

if __name__ == "__main__":
    main()
