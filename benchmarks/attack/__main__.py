"""Run the table of attacks against services of its own, and print what honest clients noticed.

`python -m benchmarks.attack [--seconds 4] [--fronts native,aio] [--workers 1,2] [--only WORD ...]`.
Exits 1 if an honest call failed or was not answered within 10 s. Everything is on loopback and ends
by itself.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.attack.attacker import attacking
from benchmarks.attack.attacks import Attack, attacks
from benchmarks.attack.honest import Honest, Seen
from benchmarks.compare.models import subjects
from benchmarks.service_process import serving

PORT, GRPC_PORT = 3870, 3871
CLIENT_TIMEOUT_S = 2  # a tenth of the default, so that deadlines pass within the measurement
_RECOVERY_S = 0.5


class Peak(msgspec.Struct):
    """The most that the service's processes held together."""

    memory: int = 0  # bytes
    files: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack every service that is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each attack")
    parser.add_argument("--fronts", default="native,aio", help="gRPC servers")
    parser.add_argument("--workers", default="1,2", help="numbers of workers")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the attacks' names")
    asked = parser.parse_args(arguments)
    failed = 0
    for front in asked.fronts.split(","):
        for workers in map(int, asked.workers.split(",")):
            failed += _attack_service(front, workers, asked.seconds, asked.only)
    return 1 if failed else 0


def _attack_service(front: str, workers: int, seconds: float, only: Sequence[str]) -> int:
    """Return how many honest calls failed."""
    failures: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as parts:
        honest, key = parts.enter_context(_prepared(Path(folder), front, workers))
        service = parts.enter_context(serving(PORT, GRPC_PORT))
        table = _table(f"gRPC {front}, {workers} worker(s), {seconds:g} s each")
        chosen = [one for one in attacks(key) if any(word in one.name for word in only)]
        for attack in [None, *chosen]:
            seen, peak = _measure(service, honest, attack, seconds)
            table.add_row(*_row(attack, seen, peak, seconds))
            for text, count in seen.failures.items():
                name = f"{'no attack' if attack is None else attack.name}: {text}"
                failures[name] = failures.get(name, 0) + count
            time.sleep(_RECOVERY_S)
    console = Console(width=max(100, Console().width))
    console.print(table)
    for text, count in failures.items():
        console.print(f"{count} times {text}", markup=False)
    return sum(failures.values())


@contextmanager
def _prepared(folder: Path, front: str, workers: int) -> Iterator[tuple[Honest, str]]:
    """Make a home with a model and a key; the environment names it while the block runs."""
    changed = {
        "DRIFTLINE_HOME": str(folder),
        "BENTOML_HOME": str(folder / "bentoml"),
        "DRIFTLINE_SERVICE_GRPC": front,
        "DRIFTLINE_SERVICE_WORKERS": str(workers),
        "DRIFTLINE_SERVICE_CLIENT_TIMEOUT_S": str(CLIENT_TIMEOUT_S),
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        (small,) = subjects(folder / "models", {"small"})
        command = [sys.executable, "-m", "driftline", "keys", "create", "--name", "honest"]
        made = subprocess.run(  # noqa: S603 - our own command
            [*command, "--scope", "predict"], capture_output=True, text=True, check=True
        )
        found = re.search(r"dl_\w+", made.stdout)
        assert found is not None, made.stdout
        yield Honest(PORT, GRPC_PORT, found[0], small.rows[0].tolist()), found[0]
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _measure(
    service: psutil.Process, honest: Honest, attack: Attack | None, seconds: float
) -> tuple[Seen, Peak]:
    with ExitStack() as parts:
        peak = parts.enter_context(_watching(service))
        if attack is not None:
            port = PORT if attack.port == "rest" else GRPC_PORT
            parts.enter_context(attacking(attack, port, seconds + 5))
            time.sleep(0.5)  # the attacker starts
        return asyncio.run(honest.run(seconds)), peak


@contextmanager
def _watching(service: psutil.Process) -> Iterator[Peak]:
    peak, stop = Peak(), Event()

    def look() -> None:
        while not stop.wait(0.1):
            try:
                processes = service.children(recursive=True)
                memory = sum(one.memory_info().rss for one in processes)
                files = max((one.num_fds() for one in processes), default=0)
            except psutil.Error:
                continue
            peak.memory, peak.files = max(peak.memory, memory), max(peak.files, files)

    thread = Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _table(title: str) -> Table:
    table = Table(title=title)
    table.add_column("attack")
    for heading in (
        "REST/s",
        "p99 ms",
        "gRPC/s",
        "p99 ms",
        "probe p99 ms",
        "failed",
        "MB",
        "files",
    ):
        table.add_column(heading, justify="right")
    return table


def _row(attack: Attack | None, seen: Seen, peak: Peak, seconds: float) -> list[str]:
    name = "none" if attack is None else f"{attack.port}: {attack.name}"
    return [
        name,
        f"{len(seen.rest) / seconds:.0f}",
        _p99(seen.rest),
        f"{len(seen.grpc) / seconds:.0f}",
        _p99(seen.grpc),
        _p99(seen.probes),
        str(sum(seen.failures.values())),
        f"{peak.memory / 1e6:.0f}",
        str(peak.files),
    ]


def _p99(took: list[float]) -> str:
    return f"{sorted(took)[int(len(took) * 0.99)] * 1e3:.0f}" if took else "none"


if __name__ == "__main__":
    raise SystemExit(main())
