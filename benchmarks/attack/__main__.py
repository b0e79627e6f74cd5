"""Run the table of attacks against services on loopback, and print the effect on honest clients.

`python -m benchmarks.attack [--seconds 4] [--fronts native,aio] [--workers 1,2] [--only WORD ...]`.
With `--mixed [--minutes 60]`, random combinations of attacks run instead, while an oracle compares
each honest answer with the model and with the log ([mixed](mixed.py)). Exits 1 if an honest call
failed or was not answered within 10 s.
"""

import argparse
import asyncio
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
from benchmarks.attack.honest import HonestCalls, HonestClients
from benchmarks.attack.mixed import run_mixed
from benchmarks.attack.service_home import service_home
from benchmarks.service_process import serving

PORT, GRPC_PORT = 3870, 3871
CLIENT_TIMEOUT_S = 2  # a tenth of the default, so that deadlines pass within the measurement
_RECOVERY_S = 0.5


class Peak(msgspec.Struct):
    """Peak usage of the service's processes."""

    memory: int = 0  # bytes of all processes
    files: int = 0  # open files of the process with the most


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack every selected service; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="duration of each attack")
    parser.add_argument("--fronts", default="native,aio", help="gRPC servers to attack")
    parser.add_argument("--workers", default="1,2", help="numbers of workers to attack")
    parser.add_argument("--only", nargs="*", default=[""], help="run attacks with these words")
    parser.add_argument(
        "--mixed", action="store_true", help="random combinations, all servers at once"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="duration with --mixed")
    parser.add_argument("--cores", type=float, default=0.4, help="CPU cores to use with --mixed")
    parser.add_argument("--samples", type=Path, help="output file for samples with --mixed")
    options = parser.parse_args(arguments)
    if options.mixed:
        fronts = options.fronts.split(",")
        return run_mixed(fronts, options.minutes * 60, options.cores, options.samples)
    failed = 0
    for front in options.fronts.split(","):
        for workers in map(int, options.workers.split(",")):
            failed += _attack_service(front, workers, options.seconds, options.only)
    return 1 if failed else 0


def _attack_service(front: str, workers: int, seconds: float, only: Sequence[str]) -> int:
    """Return the number of failed honest calls."""
    failures: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as parts:
        changed = {
            "DRIFTLINE_SERVICE_GRPC": front,
            "DRIFTLINE_SERVICE_WORKERS": str(workers),
            "DRIFTLINE_SERVICE_CLIENT_TIMEOUT_S": str(CLIENT_TIMEOUT_S),
        }
        small, key = parts.enter_context(service_home(Path(folder), changed))
        honest = HonestClients(PORT, GRPC_PORT, key, small.rows[0].tolist())
        service = parts.enter_context(serving(PORT, GRPC_PORT))
        table = _table(f"gRPC {front}, {workers} worker(s), {seconds:g} s each")
        chosen = [attack for attack in attacks(key) if any(word in attack.name for word in only)]
        for attack in [None, *chosen]:
            calls, peak = _measure(service, honest, attack, seconds)
            table.add_row(*_row(attack, calls, peak, seconds))
            for text, count in calls.failures.items():
                name = f"{'no attack' if attack is None else attack.name}: {text}"
                failures[name] = failures.get(name, 0) + count
            time.sleep(_RECOVERY_S)
    console = Console(width=max(100, Console().width))
    console.print(table)
    for text, count in failures.items():
        console.print(f"{count} times {text}", markup=False)
    return sum(failures.values())


def _measure(
    service: psutil.Process, honest: HonestClients, attack: Attack | None, seconds: float
) -> tuple[HonestCalls, Peak]:
    with ExitStack() as parts:
        peak = parts.enter_context(_watching(service))
        if attack is not None:
            port = PORT if attack.port == "rest" else GRPC_PORT
            parts.enter_context(attacking(attack, port, seconds + 5))
            time.sleep(0.5)  # time for the attacker to start
        return asyncio.run(honest.run(seconds)), peak


@contextmanager
def _watching(service: psutil.Process) -> Iterator[Peak]:
    peak, stop = Peak(), Event()

    def look() -> None:
        while not stop.wait(0.1):
            try:
                processes = service.children(recursive=True)
                memory = sum(process.memory_info().rss for process in processes)
                files = max((process.num_fds() for process in processes), default=0)
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


def _row(attack: Attack | None, calls: HonestCalls, peak: Peak, seconds: float) -> list[str]:
    name = "none" if attack is None else f"{attack.port}: {attack.name}"
    return [
        name,
        f"{len(calls.rest) / seconds:.0f}",
        _p99(calls.rest),
        f"{len(calls.grpc) / seconds:.0f}",
        _p99(calls.grpc),
        _p99(calls.probes),
        str(sum(calls.failures.values())),
        f"{peak.memory / 1e6:.0f}",
        str(peak.files),
    ]


def _p99(took: list[float]) -> str:
    return f"{sorted(took)[int(len(took) * 0.99)] * 1e3:.0f}" if took else "none"


if __name__ == "__main__":
    raise SystemExit(main())
