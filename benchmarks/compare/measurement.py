"""Start, measure and stop the contenders one after another."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.compare import generator, wrk
from benchmarks.compare.contenders import Contender
from benchmarks.compare.load import ClosedLoopResults
from benchmarks.compare.models import Subject
from benchmarks.compare.server_process import Server, running

_WARM_UP = 0.3  # seconds of unmeasured load, first over one connection, then over several
_SOME = 8


class Rounds(msgspec.Struct, frozen=True):
    """Number of rounds, and the load of each round."""

    rounds: int
    seconds: int  # duration per number of connections
    connections: tuple[int, ...]
    folder: Path  # emptied before each start


class Measurement(msgspec.Struct, frozen=True):
    """Results of one contender's run, or the medians of several runs."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # CPU of all server processes per answered request
    failed: float  # share of failed requests
    generator: float  # CPU of the generator, as a share of one core


def measure(
    contender: Contender, subject: Subject, plan: Rounds
) -> Iterator[tuple[int, Measurement]]:
    """Start the contender once; yield a measurement for each number of connections."""
    with running(contender, subject, plan.folder) as server:
        alone = generator.generate(server.port, server.question, 1, _WARM_UP)
        generator.generate(server.port, server.question, _SOME, _WARM_UP)
        for number in plan.connections:
            # wrk does not count requests in flight at the end, which distorts the results of
            # servers with long response times.
            slow = number * alone.p50_ms > 500 * plan.seconds
            before = server.cpu()
            load = _load(server, number, plan, slow=slow)
            yield number, _measurement(load, server.cpu() - before)


def medians(runs: Sequence[Measurement]) -> Measurement:
    """Return the median of each field."""
    fields = msgspec.structs.fields(Measurement)
    return Measurement(**{f.name: median(getattr(run, f.name) for run in runs) for f in fields})


def _load(server: Server, connections: int, plan: Rounds, *, slow: bool) -> ClosedLoopResults:
    if server.question.transport == "grpc" or wrk.PROGRAM is None or slow:
        return generator.generate(server.port, server.question, connections, plan.seconds)
    return wrk.generate(server.port, server.question, connections, plan.seconds, plan.folder)


def _measurement(load: ClosedLoopResults, cpu: float) -> Measurement:
    requests = load.answered + load.failed
    return Measurement(
        requests_s=load.answered / load.seconds,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        cpu_us=1e6 * cpu / max(load.answered, 1),
        failed=load.failed / max(requests, 1),
        generator=load.generator_cpu_s / load.seconds,
    )
