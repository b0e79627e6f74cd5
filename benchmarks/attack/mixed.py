"""Attack services with random combinations for minutes or hours, and detect leaks.

Each gRPC server has a service, with default settings, and an attacker; all run at once. Samples of
memory, descriptors, threads and log show leaks. An oracle finds lost and wrong answers.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.attack.bouts import Turns, attacking_in_turns, read_turns
from benchmarks.attack.oracle import CallerReplies, FrontCallers, answers_of
from benchmarks.attack.service_home import service_home
from benchmarks.service_process import free_ports, serving

_PARTS = 6  # parts of the run; each is a row of the table
_SAMPLE_S = 5.0
_JUDGED_S = 600.0  # shorter runs cannot show slow leaks
_MORE_FILES = 8  # allowed growth of the minimum number of open files, second to last part
_MORE_MEMORY = 0.1  # allowed growth of the median memory, second to last part
_QUIET = 0.05  # share of the run's end without attacks


class ProcessUsage(msgspec.Struct):
    """Resource usage of one service's processes."""

    at: float  # seconds since the start
    memory: int  # bytes, resident
    files: int
    threads: int
    log: int  # bytes of its event log
    cpu: float  # seconds of CPU time


class Front(msgspec.Struct):
    """One service under attack."""

    name: str
    home: Path
    process: psutil.Process
    honest: FrontCallers
    samples: list[ProcessUsage] = []
    turns: dict[str, int] = {}
    promises: int = 0
    broken: list[str] = []


def run_mixed(names: Sequence[str], seconds: float, cores: float, out: Path | None) -> int:
    """Attack one service per gRPC server; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        fronts = _attack(names, seconds, cores, Path(folder))
        for front in fronts:
            front.promises, front.broken = front.honest.compare(front.home / "log")
    if out is not None:
        out.write_bytes(msgspec.json.encode([_record(front) for front in fronts]))
    console = Console(width=max(100, Console().width))
    return max(_report(console, front, seconds) for front in fronts)


def _attack(names: Sequence[str], seconds: float, cores: float, folder: Path) -> list[Front]:
    fronts: list[Front] = []
    attackers: list[Turns] = []
    with ExitStack() as parts:
        for number, name in enumerate(names):
            home, (port, grpc_port) = folder / name, free_ports(2)
            home.mkdir()
            with service_home(home, {"DRIFTLINE_SERVICE_GRPC": name}) as (subject, key):
                process = parts.enter_context(serving(port, grpc_port))
            honest = FrontCallers(port, grpc_port, key, answers_of(subject), home / "promised")
            fronts.append(Front(name, home, process, honest))
            attackers.append(
                Turns(
                    key=key,
                    port=port,
                    grpc_port=grpc_port,
                    service=process.pid,
                    seconds=seconds * (1 - _QUIET),
                    cores=cores / len(names),
                    seed=number,
                    record=home / "turns.json",
                )
            )
        for turns in attackers:
            parts.enter_context(attacking_in_turns(turns))
        asyncio.run(_call_all(fronts, seconds))
        for front in fronts:
            front.turns = read_turns(front.home / "turns.json")
    return fronts


async def _call_all(fronts: Sequence[Front], seconds: float) -> None:
    calls = (front.honest.call(seconds) for front in fronts)
    samples = (_sample(front, seconds) for front in fronts)
    await asyncio.gather(*calls, *samples)


async def _sample(front: Front, seconds: float) -> None:
    began, pause = time.monotonic(), min(_SAMPLE_S, seconds / 30)
    while (at := time.monotonic() - began) < seconds:
        front.samples.append(await asyncio.to_thread(_look, front, at))
        await asyncio.sleep(pause)


def _look(front: Front, at: float) -> ProcessUsage:
    sample = ProcessUsage(at, 0, 0, 0, 0, 0.0)
    for process in front.process.children(recursive=True):
        try:
            sample.memory += process.memory_info().rss
            sample.files += process.num_fds()
            sample.threads += process.num_threads()
            times = process.cpu_times()
            sample.cpu += times.user + times.system
        except psutil.Error:
            continue
    sample.log = sum(
        file.stat().st_size for file in (front.home / "log").rglob("*") if file.is_file()
    )
    return sample


def _record(front: Front) -> dict[str, object]:
    replies = front.honest.replies
    return {
        "front": front.name,
        "samples": front.samples,
        "turns": front.turns,
        "lost": replies.lost,
        "bounded": replies.bounded,
        "wrong": replies.wrong,
        "promises": front.promises,
        "broken": front.broken,
        "seconds": replies.seconds,
    }


def _report(console: Console, front: Front, seconds: float) -> int:
    """Print the results of one service; return 1 if it failed or its usage grew."""
    replies, parts = front.honest.replies, _parts(front.samples, seconds)
    console.print(_table(front, parts, seconds))
    cpu = (front.samples[-1].cpu - front.samples[0].cpu) / seconds
    console.print(
        f"{len(replies.seconds)} honest calls answered, {sum(replies.bounded.values())} refused "
        f"within stated limits, {sum(replies.lost.values())} lost, {replies.wrong} wrong; "
        f"{front.promises} promises in the log once, {len(front.broken)} not; "
        f"{sum(front.turns.values())} attacks of {len(front.turns)} kinds, {cpu:.2f} cores; "
        f"memory of the second half: {_slope(front.samples, seconds):+.1f} MB an hour"
    )
    for text, count in (replies.lost + replies.bounded).items():
        console.print(f"{count} times {text}", markup=False)
    failed = bool(replies.lost or replies.wrong or front.broken or not replies.seconds)
    if seconds >= _JUDGED_S and (grown := growth(parts)):
        console.print(grown)
        failed = True
    return int(failed)


def _parts(samples: Sequence[ProcessUsage], seconds: float) -> list[list[ProcessUsage]]:
    numbers = [min(_PARTS - 1, int(sample.at / seconds * _PARTS)) for sample in samples]
    return [
        [sample for sample, number in zip(samples, numbers, strict=True) if number == part]
        for part in range(_PARTS)
    ]


def growth(parts: Sequence[Sequence[ProcessUsage]]) -> str:
    """Describe the growth from the second to the last part; the first part is for warm-up."""
    early, late = parts[1], parts[-1]
    files = min(sample.files for sample in late) - min(sample.files for sample in early)
    if files > _MORE_FILES:
        return f"{files} more files are open at the end"
    before, after = (float(np.median([sample.memory for sample in part])) for part in (early, late))
    if after > before * (1 + _MORE_MEMORY):
        return f"memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB"
    return ""


def _slope(samples: Sequence[ProcessUsage], seconds: float) -> float:
    half = [sample for sample in samples if sample.at >= seconds / 2]
    if len(half) < 2:
        return 0.0
    at, memory = ([getattr(sample, name) for sample in half] for name in ("at", "memory"))
    return float(np.polyfit(at, memory, 1)[0]) * 3_600 / 1e6


def _table(front: Front, parts: Sequence[Sequence[ProcessUsage]], seconds: float) -> Table:
    table = Table(title=f"gRPC {front.name}, {seconds / 60:g} minutes of mixed attack")
    for heading in ("until min", "MB median", "MB most", "files least", "files most", "threads"):
        table.add_column(heading, justify="right")
    for heading in ("log MB", "calls", "p50 ms", "p99 ms", "slowest"):
        table.add_column(heading, justify="right")
    replies: CallerReplies = front.honest.replies
    began = min((at for at, _ in replies.seconds), default=0.0)
    for number, part in enumerate(parts):
        span = seconds / _PARTS
        took = sorted(
            duration
            for at, duration in replies.seconds
            if number * span <= at - began < (number + 1) * span
        )
        if not part or not took:
            continue
        table.add_row(
            f"{(number + 1) * span / 60:.1f}",
            f"{np.median([sample.memory for sample in part]) / 1e6:.0f}",
            f"{max(sample.memory for sample in part) / 1e6:.0f}",
            str(min(sample.files for sample in part)),
            str(max(sample.files for sample in part)),
            str(max(sample.threads for sample in part)),
            f"{part[-1].log / 1e6:.1f}",
            str(len(took)),
            *(f"{took[int(len(took) * share)] * 1e3:.0f}" for share in (0.5, 0.99)),
            f"{took[-1] * 1e3:.0f}",
        )
    return table
