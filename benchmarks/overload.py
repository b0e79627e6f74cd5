"""Measure the service under more requests than it can answer (`make overload`).

Open loop: requests are sent at a fixed rate, independent of responses. The rate is 1, 2, 5 and 10
times the service's capacity. Each request uses a free connection.
"""

import asyncio
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.compare.models import subjects
from benchmarks.service_process import serving
from eventlog.settings import Home
from registry.store import Registry

PORT, GRPC_PORT = 3880, 3881
SECONDS = 6.0
TIMES = (1, 2, 5, 10)
MOST_CONNECTIONS = 1_500
WAIT_MS = 100  # objective: maximum time in the queue
_PATH = "/v2/models/overloaded/infer"


class LoadResults(msgspec.Struct):
    """The clients' measurements; times are in seconds."""

    answered: list[float] = []
    refused: list[float] = []
    failed: int = 0
    unsent: int = 0  # requests without a free connection


class PooledConnection(asyncio.Protocol):
    """A connection of a pool, to which it returns after each response."""

    def __init__(
        self, request: bytes, results: LoadResults, free: list["PooledConnection"]
    ) -> None:
        self._request, self._results, self._free = request, results, free
        self._sent = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the connection."""
        self._transport = transport
        self._free.append(self)

    def ask(self) -> None:
        """Send the request."""
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Record the outcome of a response, which is small and arrives in one piece."""
        took = time.perf_counter() - self._sent
        if data.startswith(b"HTTP/1.1 200"):
            self._results.answered.append(took)
        elif data.startswith((b"HTTP/1.1 429", b"HTTP/1.1 503")):
            self._results.refused.append(took)
        else:
            self._results.failed += 1
        self._free.append(self)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def main() -> None:
    """Measure the service under each load, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DRIFTLINE_HOME"] = folder
        os.environ["BENTOML_HOME"] = str(Path(folder) / "bentoml")
        os.environ["DRIFTLINE_SERVICE_MAX_QUEUE_WAIT_MS"] = str(WAIT_MS)
        request = _register(Path(folder))
        with serving(PORT, GRPC_PORT):
            uvloop.run(_measure(request))


def _register(folder: Path) -> bytes:
    """Register a model of about 2 ms per run, without batching; return a request for it."""
    (deep,) = subjects(folder / "models", {"deep"})
    files = folder / "models" / "deep"
    manifest = yaml.safe_load((files / "manifest.yaml").read_text()) | {"max_batch_size": 1}
    (files / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    registry = Registry(Home(folder))
    version = registry.register(
        files / "model.onnx",
        model="overloaded",
        manifest=files / "manifest.yaml",
        reference=files / "reference.parquet",
    )
    registry.promote("overloaded", version.number)
    row = deep.rows[:1]
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": list(row.shape),
        "data": row.ravel().tolist(),
    }
    body = msgspec.json.encode({"inputs": [tensor]})
    head = f"POST {_PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _measure(request: bytes) -> None:
    capacity = await _capacity(request)
    table = Table(title=f"{capacity:,.0f} requests/s at most; a wait of {WAIT_MS} ms is allowed")
    for heading in ("load", "answered/s", "share of peak", "p50 ms", "p99 ms", "refused", "p99 ms"):
        table.add_column(heading, justify="right")
    table.add_column("failed, unsent", justify="right")
    for times in TIMES:
        results = await _open_loop(request, capacity * times)
        table.add_row(
            f"{times} x",
            f"{len(results.answered) / SECONDS:,.0f}",
            f"{len(results.answered) / SECONDS / capacity:.0%}",
            *(f"{_quantile(results.answered, share):.1f}" for share in (0.5, 0.99)),
            f"{len(results.refused):,}",
            f"{_quantile(results.refused, 0.99):.1f}",
            f"{results.failed}, {results.unsent}",
        )
    Console().print(table)


async def _capacity(request: bytes) -> float:
    """Return responses per second to a few clients in a closed loop."""
    results: LoadResults = LoadResults()
    free: list[PooledConnection] = []
    connections = await _connect(request, results, free, 4)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        while free:
            free.pop().ask()
        await asyncio.sleep(0.0005)
    for connection in connections:
        connection.close()
    return len(results.answered) / SECONDS


async def _open_loop(request: bytes, rate: float) -> LoadResults:
    results: LoadResults = LoadResults()
    free: list[PooledConnection] = []
    connections = await _connect(request, results, free, MOST_CONNECTIONS)
    started, sent = time.perf_counter(), 0
    while (now := time.perf_counter() - started) < SECONDS:
        for _ in range(int(now * rate) - sent):
            sent += 1
            if free:
                free.pop().ask()
            else:
                results.unsent += 1
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)  # wait for the last responses
    for connection in connections:
        connection.close()
    return results


async def _connect(
    request: bytes, results: LoadResults, free: list[PooledConnection], count: int
) -> list[PooledConnection]:
    loop = asyncio.get_running_loop()
    connections = [PooledConnection(request, results, free) for _ in range(count)]
    for connection in connections:
        await loop.create_connection(partial(_itself, connection), "127.0.0.1", PORT)
    return connections


def _itself(connection: PooledConnection) -> PooledConnection:
    return connection


def _quantile(latencies: list[float], share: float) -> float:
    ordered = sorted(latencies) or [float("nan")]
    return 1_000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


if __name__ == "__main__":
    main()
