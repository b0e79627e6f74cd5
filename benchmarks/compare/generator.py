"""Generate load with raw sockets: for gRPC, for slow servers, and if wrk is not installed.

Closed loop: one request in flight per connection, always the same bytes. Responses are parsed only
to find their end. Unlike wrk, the generator waits for the last responses, so that servers with
response times of seconds are measured correctly.
"""

import asyncio
import time

import uvloop

from benchmarks.compare.grpc_connection import GrpcConnection
from benchmarks.compare.http_connection import HttpConnection
from benchmarks.compare.load import ClosedLoopResults
from benchmarks.compare.requests import Question

_LAST_ANSWERS = 8.0  # seconds to wait for the last responses


class ResponseCounter:
    """Counts responses and decides whether to send another request."""

    def __init__(self, end: float) -> None:
        """`end` is the time of time.perf_counter at which requests stop."""
        self._end = end
        self.latencies: list[float] = []
        self.failed = 0

    def answered(self, sent: float, *, well: bool) -> bool:
        """Count the response to a request sent at `sent`; return whether to send another."""
        now = time.perf_counter()
        if well:
            self.latencies.append(now - sent)
        else:
            self.failed += 1
        return now < self._end

    def quantile(self, share: float) -> float:
        """Return a latency quantile in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def generate(port: int, question: Question, connections: int, seconds: float) -> ClosedLoopResults:
    """Send requests to 127.0.0.1:`port` over `connections` connections for `seconds`."""
    return uvloop.run(_generate(port, question, connections, seconds))


async def _generate(
    port: int, question: Question, connections: int, seconds: float
) -> ClosedLoopResults:
    started, cpu = time.perf_counter(), time.process_time()
    counter = ResponseCounter(started + seconds)
    kind = HttpConnection if question.transport == "http" else GrpcConnection
    callers = [kind(port, question, counter.answered).run() for _ in range(connections)]
    tasks = [asyncio.create_task(caller) for caller in callers]
    done, late = await asyncio.wait(tasks, timeout=seconds + _LAST_ANSWERS)
    for task in late:
        task.cancel()
    for task in done:
        task.result()
    return ClosedLoopResults(
        answered=len(counter.latencies),
        failed=counter.failed,
        seconds=time.perf_counter() - started,
        p50_ms=counter.quantile(0.5),
        p99_ms=counter.quantile(0.99),
        generator_cpu_s=time.process_time() - cpu,
    )
