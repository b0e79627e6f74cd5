"""Measure a registry of 10,000 models with 100,000 versions: `python -m benchmarks.large_registry`.

The rows are real. The files of the served versions are copies of one small model, in a shared
folder from which this machine has fetched none. Other versions have no files. Each step prints this
process's CPU time, so that other load on the machine matters little. With `--worker`, a service of
the served models is started instead: first with an empty model store, then with the files that the
first service fetched.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import psutil
from msgspec.structs import replace

from benchmarks.compare.models import small
from benchmarks.service_process import free_ports, serving
from driftline.convergence import wait_for_workers
from driftline.version_summaries import ModelQuery, read_page, read_pages
from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.history.rows import HistoryRow, Registration, encode_detail
from registry.history.store import History
from registry.store import Registry
from service.models.selection import SelectedModels

_Result = TypeVar("_Result")
_PATIENCE_S = 900.0
_CHANGES = 1_000
_BATCH = 100  # number of models per transaction
_FILES = ("model.onnx", "manifest.json", "batching.json", "inference.json", "reference.parquet")


@click.command()
@click.option("--models", default=10_000, show_default=True)
@click.option("--versions", default=10, show_default=True, help="Versions per model.")
@click.option("--served", default=300, show_default=True, help="Served models, of team-a.")
@click.option("--folder", default=None, help="Where the registry is created.  [default: TMPDIR]")
@click.option("--worker", is_flag=True, help="Start a service of the served models instead.")
def main(models: int, versions: int, served: int, folder: str | None, *, worker: bool) -> None:
    """Fill a registry; list it, change it, poll the change and read the served models."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        home = Home(Path(root) / "home")
        os.environ["DRIFTLINE_HOME"] = str(home.root)
        os.environ["BENTOML_HOME"] = f"{root}/elsewhere"
        os.environ["DRIFTLINE_ARTIFACTS"] = f"file://{root}/artifacts"
        small(Path(root) / "files")
        (registered,) = (row for row in Registry(home).history("small") if row.kind == "registered")
        os.environ["BENTOML_HOME"] = f"{root}/bentoml"
        _measured("fill", lambda: _fill(home, models, versions, served, registered))
        size = home.registry.stat().st_size / 2**20
        print(f"registry.db: {size:.0f} MiB")

        registry = Registry(home)
        selected = SelectedModels(registry, "team-a-*")
        names = _measured("name the selected models", selected.models)
        assert len(names) == served
        if worker:
            os.environ["DRIFTLINE_SERVICE_MODELS"] = "team-a-*"
            _serve(home, served, "fetches every file")
            _serve(home, served, "has every file")
            return
        states = _measured("read their states", lambda: [selected.state(name) for name in names])
        assert all(len(state.remote) == versions for state in states)
        revision = registry.revision()
        history = History(home.registry)

        def promote() -> int:
            return history.promote("team-a-1", "champion", "1", time=1, actor="ann")

        _measured("promote", promote)
        assert _measured("poll, nothing new", lambda: selected.changed(revision + 1)) == set()
        assert _measured("poll, one change", lambda: selected.changed(revision)) == {"team-a-1"}
        _measured("read the changed state", lambda: selected.state("team-a-1"))
        read = partial(read_page, home)
        first = _measured("list the first 100 models", lambda: read(ModelQuery(limit=100)))
        assert first.remaining == models + 1 - 100
        listed = _measured("list the selected models", lambda: read(ModelQuery("team-a-*")))
        assert len(listed.versions) == served * versions
        size = _measured(
            "list every version, page by page",
            lambda: sum(len(page.versions) for page in read_pages(read, ModelQuery())),
        )
        assert size == models * versions + 1


def _serve(home: Home, served: int, what: str) -> None:
    """Start a service, change other models while it serves, and print its costs."""
    registry, (port, grpc_port) = Registry(home), free_ports(2)
    began = time.monotonic()
    with serving(port, grpc_port, _PATIENCE_S) as service:
        took = time.monotonic() - began
        worker = max(service.children(recursive=True), key=lambda child: child.memory_info().rss)
        (report,) = wait_for_workers(AllWorkers(home), registry.revision(), _PATIENCE_S)
        assert len(report.serving) == served
        start_cpu, memory = _cpu_s(worker), worker.memory_info().rss / 2**20
        print(f"a worker that {what}: ready after {took:.1f} s", end="")
        print(f", {start_cpu:.1f} s of its CPU, {memory:,.0f} MiB", flush=True)
        history = History(home.registry)
        for changes in (_CHANGES, 2 * _CHANGES):
            for change in range(_CHANGES):
                history.load(f"other-{served + change}", "", time=changes, actor="ann")
            wait_for_workers(AllWorkers(home), registry.revision(), _PATIENCE_S)
            grown = worker.memory_info().rss / 2**20 - memory
            cpu = _cpu_s(worker) - start_cpu
            print(f"{changes:,} changes of other models: {grown:+.1f} MiB, {cpu:.2f} s of its CPU")


def _cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _fill(home: Home, models: int, versions: int, served: int, files: HistoryRow) -> None:
    history = History(home.registry)
    for first in range(0, models, _BATCH):
        batch = range(first, min(first + _BATCH, models))
        rows = [row for number in batch for row in _rows(number, versions, served, files)]
        history.append("", lambda _, rows=rows: rows)  # type: ignore[misc]


def _rows(number: int, versions: int, served: int, files: HistoryRow) -> list[HistoryRow]:
    """Return the rows of one model; of a served model, only the newest version is loaded."""
    name, newest = f"team-a-{number}" if number < served else f"other-{number}", str(versions)
    rows = [_registered(name, version) for version in range(1, versions + 1)]
    if number < served:
        rows[-1] = replace(files, model=name, number=newest)
        rows.append(HistoryRow(0, name, "unloaded", "", 0, "ann"))
        rows.append(HistoryRow(0, name, "loaded", newest, 0, "ann"))
    return [*rows, HistoryRow(0, name, "promoted", newest, 0, "ann", "champion")]


def _registered(model: str, number: int) -> HistoryRow:
    files = {name: f"{abs(hash((model, number, name))):064x}" for name in _FILES}
    return HistoryRow(
        0, model, "registered", str(number), 0, "ann",
        detail=encode_detail(Registration(files)), digest=f"{abs(hash((model, number))):064x}",
    )  # fmt: skip


def _measured(what: str, step: Callable[[], _Result]) -> _Result:
    began = time.process_time()
    result = step()
    cpu = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {1e3 * cpu:,.1f} ms of CPU, peak memory so far {peak:,.0f} MiB", flush=True)
    return result


if __name__ == "__main__":
    main()
