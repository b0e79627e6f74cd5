"""Measure how connections are spread over two workers, and how fast a killed worker restarts.

Run `python -m benchmarks.workers`.
"""

import os
import socket
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from rich.console import Console

from benchmarks.compare.models import small
from benchmarks.service_process import serving
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from registry.worker_reports import read_workers

PORT, GRPC_PORT = 3882, 3883
SECONDS = 6.0
CONNECTIONS = (4, 32)
KILLED = (1, 2)
_PATIENCE = 300.0  # seconds
_LISTENING = 10.0  # maximum seconds from loaded models to a listening worker


def main() -> None:
    """Print both tables."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DRIFTLINE_HOME": f"{folder}/home",
            "BENTOML_HOME": f"{folder}/bentoml",
            "DRIFTLINE_SERVICE_WORKERS": "2",
        }
        home = Home.from_environment()
        request = _request(Path(folder))
        with serving(PORT, GRPC_PORT) as supervisor:
            _await_workers(home)
            time.sleep(_LISTENING)
            for connections in CONNECTIONS:
                console.print(_spread(home, request, connections))
            for number in KILLED:
                console.print(_recovery(home, supervisor, number))


def _request(folder: Path) -> bytes:
    """Register the smallest model; return the bytes of a request for one row."""
    subject = small(folder)
    row = subject.rows[:1]
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": list(row.shape),
        "data": row.ravel().tolist(),
    }
    body = msgspec.json.encode({"inputs": [tensor]})
    path = f"/v2/models/{subject.name}/infer"
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _spread(home: Home, request: bytes, connections: int) -> str:
    before = _events(home)
    latencies: list[float] = []
    stop = time.monotonic() + SECONDS
    clients = [
        threading.Thread(target=_ask, args=(request, stop, latencies)) for _ in range(connections)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    answered = _events(home) - before
    most = max(answered.values()) * 2 / answered.total()
    p99 = sorted(latencies)[int(0.99 * len(latencies))] * 1e3
    return f"{connections} connections: at most {most:.2f} x its share, p99 {p99:.1f} ms"


def _ask(request: bytes, stop: float, latencies: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", PORT)) as connection:
        while time.monotonic() < stop:
            began = time.perf_counter()
            connection.sendall(request)
            if not connection.recv(65_536):
                return
            latencies.append(time.perf_counter() - began)


def _events(home: Home) -> Counter[str]:
    counts: Counter[str] = Counter()
    reader = SegmentReader(home.log, {})
    while records := reader.poll(10_000):
        counts.update(record.source for record in records)
    reader.close()
    return counts


def _recovery(home: Home, supervisor: psutil.Process, number: int) -> str:
    workers = _workers(supervisor)
    victims, survivors = workers[:number], workers[number:]
    began = time.monotonic()
    for victim in victims:
        victim.kill()
    while len(_workers(supervisor)) < 2 or set(_workers(supervisor)) & set(victims):
        time.sleep(0.02)
    restarted = time.monotonic() - began
    _await_workers(home)
    ready = time.monotonic() - began
    fresh = set(_workers(supervisor)) - set(victims) - set(survivors)
    cpu = sum(sum(worker.cpu_times()[:2]) for worker in fresh)
    return (
        f"{number} killed: replaced after {restarted:.1f} s, ready after {ready:.1f} s, "
        f"CPU of new workers {cpu:.1f} s"
    )


def _workers(supervisor: psutil.Process) -> list[psutil.Process]:
    children = []
    for child in supervisor.children():
        with suppress(psutil.Error):  # the process has just ended
            if child.status() != psutil.STATUS_ZOMBIE and child.name() != "fork-server":
                children.append(child)
    return children


def _await_workers(home: Home) -> None:
    deadline = time.monotonic() + _PATIENCE
    while sum(bool(report.serving) for report in read_workers(home.workers)) < 2:
        if time.monotonic() > deadline:
            raise TimeoutError("two workers did not become ready")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
