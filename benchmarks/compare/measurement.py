"""Rounds in which every contender is started, asked and ended in turn."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.compare import generator, wrk
from benchmarks.compare.contenders import Contender
from benchmarks.compare.load import Load
from benchmarks.compare.models import Subject
from benchmarks.compare.server_process import Server, running

_WARM_UP = 0.3  # seconds before anything is measured, over one connection and then over some
_SOME = 8


class Plan(msgspec.Struct, frozen=True):
    """How often each server is started, and how it is asked each time."""

    rounds: int
    seconds: int  # for each number of connections
    connections: tuple[int, ...]
    folder: Path  # emptied for each start


class Measurement(msgspec.Struct, frozen=True):
    """One run of one contender, or the medians of several."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of all processes of the server, per answered request
    failed: float  # share of the requests
    generator: float  # its CPU as a share of one core


def measure(
    contender: Contender, subject: Subject, plan: Plan
) -> Iterator[tuple[int, Measurement]]:
    """Start the contender once and ask it over each number of connections."""
    with running(contender, subject, plan.folder) as server:
        alone = generator.generate(server.port, server.question, 1, _WARM_UP)
        generator.generate(server.port, server.question, _SOME, _WARM_UP)
        for number in plan.connections:
            # wrk leaves what is not answered at the end uncounted, which distorts the figures of
            # a server that needs long for each of many connections.
            slow = number * alone.p50_ms > 500 * plan.seconds
            before = server.cpu()
            load = _load(server, number, plan, slow=slow)
            yield number, _measurement(load, server.cpu() - before)


def medians(runs: Sequence[Measurement]) -> Measurement:
    """Each figure's median."""
    fields = msgspec.structs.fields(Measurement)
    return Measurement(**{f.name: median(getattr(run, f.name) for run in runs) for f in fields})


def _load(server: Server, connections: int, plan: Plan, *, slow: bool) -> Load:
    if server.question.transport == "grpc" or wrk.PROGRAM is None or slow:
        return generator.generate(server.port, server.question, connections, plan.seconds)
    return wrk.generate(server.port, server.question, connections, plan.seconds, plan.folder)


def _measurement(load: Load, cpu: float) -> Measurement:
    asked = load.answered + load.failed
    return Measurement(
        requests_s=load.answered / load.seconds,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        cpu_us=1e6 * cpu / max(load.answered, 1),
        failed=load.failed / max(asked, 1),
        generator=load.generator_cpu_s / load.seconds,
    )
