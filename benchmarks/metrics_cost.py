"""Measure the cost of metrics per request and per scrape (`make bench`)."""

import os
import tempfile
import time
from collections.abc import Callable
from itertools import cycle

from rich.console import Console
from rich.table import Table

from registry.manifest import Feature, Manifest, Prediction, Version

FLUSHED_S = 0.25  # flush interval of the service
REQUESTS = 50_000
CASES = ((1, 1, 1_000), (1, 1, 8_000), (1, 32, 8_000), (300, 1, 1_000), (300, 1, 8_000))
SCRAPES = 20


def main() -> None:
    """Measure and print the costs, with shared metric files as in the service."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # before prometheus_client is imported
        table = Table(title="metrics")
        for heading in ("models", "requests in a batch", "requests a second", "flushed", "CPU"):
            table.add_column(heading, justify="right")
        for models, batch, rate in CASES:
            pause, cost = _requests(models, batch, rate)
            cells = (f"{models}", f"{batch}", f"{rate:,}", f"every {pause:.2f} s")
            table.add_row(*cells, f"{cost:.2f} µs per request")
        table.add_row("300", "", "", "", f"{_scrape():.0f} ms per scrape")
        Console(width=100).print(table)


def _requests(models: int, batch: int, rate: int) -> tuple[float, float]:
    """Return seconds between flushes and CPU microseconds per request.

    Batches are sent to one model after another, at `rate` requests per second in total.
    """
    from service.telemetry import metrics  # noqa: PLC0415 - see main

    versions = cycle([_version(f"model-{number}") for number in range(models)])
    waits = [100] * batch

    def count(requests: int) -> None:
        for _ in range(requests // batch):
            version = next(versions)
            for _ in range(batch):
                metrics.count_request(version, "rest", "ok", 0.002)
            metrics.count_times(version, waits, 900)
            metrics.count_batch(version, batch, 3)
            metrics.count_events("prediction", batch)

    count(models * batch)  # creates every series
    metrics.flush()
    pause, spent, counted = FLUSHED_S, 0.0, 0
    while counted < REQUESTS:
        requests = round(rate * pause)
        counting = _cpu(lambda n=requests: count(n))  # type: ignore[misc]
        flushing = _cpu(metrics.flush)
        pause = metrics.pause_after(flushing, FLUSHED_S)
        spent, counted = spent + counting + flushing, counted + requests
    return pause, 1e6 * spent / counted


def _scrape() -> float:
    """Return the CPU milliseconds of one scrape after the requests."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return 1e3 * _cpu(lambda: [generate_latest(registry) for _ in range(SCRAPES)]) / SCRAPES


def _version(model: str) -> Version:
    manifest = Manifest(
        task="classification",
        features=[Feature("x", "numeric")],
        prediction=Prediction(label="label"),
        target="y",
        held_out=True,
    )
    return Version(model=model, number="1", digest="d" * 64, created=0, manifest=manifest, path="")


def _cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
