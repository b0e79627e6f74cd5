"""`make bench`: what a request and an event cost here, beside the floor on the same machine.

Ratios within one run are what counts: the machine may be shared and noisy.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import psutil
from rich.console import Console
from rich.table import Table
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from eventlog import wire
from eventlog.events import PredictionEvent, Tensor
from eventlog.segments import SegmentReader, SegmentWriter
from eventlog.settings import Home
from loadtests.generator import Load, generate
from registry.store import Registry

FEATURES = 30
ROUNDS = 3
SECONDS = 3.0
CONNECTIONS = (1, 32)
PORT, GRPC_PORT = 3870, 3871
PATH = "/v2/models/bench/infer"
EVENTS = 20_000

console = Console()


def main() -> None:
    """Compare, print, end every process that was started."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["DRIFTLINE_HOME"] = folder
        os.environ["BENTOML_HOME"] = str(home / "bentoml")
        body = _register(home)
        _requests(home, body)
        _events(home / "bench-log")


def _register(home: Path) -> bytes:
    """Train and register a forest of 100 trees on 30 features; one row's request."""
    from skl2onnx import to_onnx  # noqa: PLC0415 - takes a second, and only the bench needs it
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415

    rows, labels = make_classification(3000, FEATURES, n_informative=8, random_state=0)
    forest = RandomForestClassifier(100, max_depth=6, random_state=0).fit(
        rows[:2000], labels[:2000]
    )
    onnx = to_onnx(
        forest,
        initial_types=[("x", FloatTensorType([None, FEATURES]))],
        options={"zipmap": False},
        target_opset=18,
    )
    (home / "model.onnx").write_bytes(onnx.SerializeToString())
    names = [f"f{n}" for n in range(FEATURES)]
    reference = pd.DataFrame(rows[2000:].astype(np.float32), columns=names)
    reference.assign(y=labels[2000:]).to_parquet(home / "reference.parquet")
    manifest = {
        "task": "classification",
        "held_out": True,
        "target": "y",
        "features": [
            {"name": name, "kind": "numeric", "input": "x", "index": n}
            for n, name in enumerate(names)
        ],
        "prediction": {
            "label": "label",
            "probabilities": "probabilities",
            "classes": [0, 1],
            "positive": 1,
        },
    }
    (home / "manifest.yaml").write_bytes(msgspec.yaml.encode(manifest))
    Registry(Home(home)).register(
        home / "model.onnx",
        model="bench",
        manifest=home / "manifest.yaml",
        reference=home / "reference.parquet",
    )
    row = [round(float(value), 6) for value in rows[0]]
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, FEATURES], "data": row}
    return msgspec.json.encode({"inputs": [tensor]})


def _requests(home: Path, body: bytes) -> None:
    python = [sys.executable, "-m"]
    ports = ["--port", str(PORT), "--grpc-port", str(GRPC_PORT)]
    quiet = ["--no-access-log", "--log-level", "warning"]
    servers = {
        "bare ASGI callable": [
            *python,
            "uvicorn",
            "loadtests.bare:app",
            "--port",
            str(PORT),
            *quiet,
        ],
        "Driftline, log and metrics on": [*python, "driftline", "serve", *ports],
    }
    os.environ["BARE_MODEL"] = str(home / "model.onnx")
    costs: dict[tuple[str, int], list[float]] = {}
    loads: dict[tuple[str, int], list[Load]] = {}
    for _ in range(ROUNDS):
        for name, command in servers.items():
            with _running(command) as server:
                for connections in CONNECTIONS:
                    before = _cpu(server)
                    load = asyncio.run(
                        generate(PORT, PATH, body, connections=connections, seconds=SECONDS)
                    )
                    cost = 1e6 * (_cpu(server) - before) / load.requests
                    costs.setdefault((name, connections), []).append(cost)
                    loads.setdefault((name, connections), []).append(load)
    _print_requests(list(servers), costs, loads)


def _print_requests(
    names: list[str],
    costs: dict[tuple[str, int], list[float]],
    loads: dict[tuple[str, int], list[Load]],
) -> None:
    table = Table(title=f"one row of {FEATURES} features, JSON, medians of {ROUNDS} rounds")
    for heading in ("server", "connections", "CPU µs/request", "of bare", "requests/s", "p50 ms"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    table.add_column("p99 ms", justify="right")
    for connections in CONNECTIONS:
        floor = median(costs[names[0], connections])
        for name in names:
            cost, seen = median(costs[name, connections]), loads[name, connections]
            table.add_row(
                name,
                str(connections),
                f"{cost:.0f}",
                f"{cost / floor:.2f}",
                f"{median(load.requests / load.seconds for load in seen):,.0f}",
                f"{median(load.quantile(0.5) for load in seen):.2f}",
                f"{median(load.quantile(0.99) for load in seen):.2f}",
            )
    console.print(table)


@contextmanager
def _running(command: list[str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(  # noqa: S603 - the servers listed above
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await_ready()
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _await_ready() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/v2/health/ready", trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server did not become ready within 60 s")


def _cpu(server: psutil.Process) -> float:
    """CPU seconds of a server and its workers."""
    family = [server, *server.children(recursive=True)]
    return float(sum(sum(one.cpu_times()[:2]) for one in family))


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
