"""A generator of our own, for gRPC, for slow servers, and where wrk is not installed.

Closed loop on raw sockets: one request in flight per connection, always the same bytes, and the
answers are looked at no closer than it takes to see their end. Unlike wrk it waits for the last
answers, so that a server that takes seconds for one is measured whole.
"""

import asyncio
import time

import uvloop

from benchmarks.compare.grpc_connection import GrpcConnection
from benchmarks.compare.http_connection import HttpConnection
from benchmarks.compare.load import Load
from benchmarks.compare.requests import Question

_LAST_ANSWERS = 8.0  # seconds to wait for them


class Tally:
    """Counts answers, and says whether another request shall be sent."""

    def __init__(self, end: float) -> None:
        """`end` is when the last request may leave, by time.perf_counter."""
        self._end = end
        self.latencies: list[float] = []
        self.failed = 0

    def answered(self, sent: float, *, well: bool) -> bool:
        """One request that left at `sent` was answered; True: ask again."""
        now = time.perf_counter()
        if well:
            self.latencies.append(now - sent)
        else:
            self.failed += 1
        return now < self._end

    def quantile(self, share: float) -> float:
        """A latency in milliseconds that this share of the answers did not exceed."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def generate(port: int, question: Question, connections: int, seconds: float) -> Load:
    """Ask 127.0.0.1:`port` over so many connections for so long."""
    return uvloop.run(_generate(port, question, connections, seconds))


async def _generate(port: int, question: Question, connections: int, seconds: float) -> Load:
    started, cpu = time.perf_counter(), time.process_time()
    tally = Tally(started + seconds)
    kind = HttpConnection if question.transport == "http" else GrpcConnection
    callers = [kind(port, question, tally.answered).run() for _ in range(connections)]
    tasks = [asyncio.create_task(caller) for caller in callers]
    done, late = await asyncio.wait(tasks, timeout=seconds + _LAST_ANSWERS)
    for task in late:
        task.cancel()
    for task in done:
        task.result()
    return Load(
        answered=len(tally.latencies),
        failed=tally.failed,
        seconds=time.perf_counter() - started,
        p50_ms=tally.quantile(0.5),
        p99_ms=tally.quantile(0.99),
        generator_cpu_s=time.process_time() - cpu,
    )
