"""Simulate the batching policy with callers in a closed loop, to find what limits batch sizes.

The clock is simulated, so the result does not depend on the machine. The policy is the service's.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

import click
import msgspec
import numpy as np

from service.batching.policy import BatchPolicy, Take, decide

# Rows per batch -> rows per second of bare ONNX Runtime: `benchmarks.compare --subject wide`.
_MEASURED = {
    1: 664, 2: 1_177, 4: 2_047, 8: 3_121, 16: 4_176, 32: 4_917, 64: 5_214, 128: 5_118, 256: 5_473,
}  # fmt: skip


class BatchCosts(msgspec.Struct, frozen=True):
    """The costs of a request, in seconds."""

    run: Callable[[int], float]  # run time of a batch, by its number of rows
    handling: float  # event loop time of one request, half before its run and half after it
    caller: float  # client time from a reply to the next request; callers share one core


class _Simulation:
    """One event loop, one runner, and one client for all callers, each on its own core."""

    def __init__(self, costs: BatchCosts, policy: BatchPolicy) -> None:
        self.clock = 0.0  # time of the event loop
        self.answered = self.batches = 0
        self._costs = costs
        self._policy = policy
        self._client = 0.0  # time until which the client is busy
        self._events: list[tuple[float, int, str, int]] = []  # future events of the loop, by time
        self._numbers = count()
        self._queue: deque[float] = deque()  # the time when each request was queued
        self._busy = self._wakes_up = False

    def post(self, time: float, kind: str, rows: int = 0) -> None:
        """Send a request to the event loop."""
        heapq.heappush(self._events, (time, next(self._numbers), kind, rows))

    def step(self) -> None:
        """Handle the loop's next event."""
        time, _, kind, rows = heapq.heappop(self._events)
        self.clock = max(self.clock, time)
        if kind == "request":
            self.clock += self._costs.handling / 2
            self._queue.append(self.clock)
            # The service first reads all requests that have arrived, then decides.
            if not self._events or self._events[0][0] > self.clock or self._events[0][2] != kind:
                self._start()
        elif kind == "decide":
            self._wakes_up = False
            self._start()
        else:
            self._busy = False
            self._start()
            self._reply(rows)

    def _start(self) -> None:
        if self._busy or not self._queue:
            return
        decision = decide([(1, 0)] * len(self._queue), self._queue[0], self.clock, self._policy)
        if isinstance(decision, Take):
            for _ in range(decision.count):
                self._queue.popleft()
            self._busy = True
            self.batches += 1
            self.post(self.clock + self._costs.run(decision.count), "ended", decision.count)
        elif not self._wakes_up:
            self._wakes_up = True
            self.post(decision.time, "decide")

    def _reply(self, rows: int) -> None:
        for _ in range(rows):
            self.clock += self._costs.handling / 2
            self._client = max(self._client, self.clock) + self._costs.caller
            self.post(self._client, "request")
        self.answered += rows


def simulate(
    callers: int, costs: BatchCosts, policy: BatchPolicy, requests: int = 20_000
) -> tuple[float, float]:
    """Return rows per second and the mean batch size; each caller waits for its reply."""
    simulation = _Simulation(costs, policy)
    for _ in range(callers):
        simulation.post(0.0, "request")
    while simulation.answered < requests:
        simulation.step()
    return simulation.answered / simulation.clock, simulation.answered / simulation.batches


def run_time(measured: dict[int, int]) -> Callable[[int], float]:
    """Return the run time of a batch in seconds, interpolated between measured sizes."""
    sizes = sorted(measured)
    seconds = [size / measured[size] for size in sizes]
    return lambda rows: float(np.interp(rows, sizes, seconds))


@click.command()
@click.option("--delay", "delays", default=(0.0, 1.0, 3.0), multiple=True, help="Delay in ms.")
def main(delays: Sequence[float]) -> None:
    """Print the share of the best batch's throughput, by cost in µs and by delay."""
    run = run_time(_MEASURED)
    for callers in (16, 64, 256):
        best = callers / run(callers)
        half = callers / 2 / run(callers // 2)
        click.echo(f"{callers} callers; batches of half of them reach {half / best:.0%}")
        for delay in delays:
            policy = BatchPolicy(callers, delay / 1e3)
            for caller in (0, 25, 50):
                shares = [
                    (cost, *simulate(callers, BatchCosts(run, cost / 1e6, caller / 1e6), policy))
                    for cost in (0, 25, 50, 100)
                ]
                row = "  ".join(
                    f"{cost} µs: {rate / best:4.0%} (batch {batch:.0f})"
                    for cost, rate, batch in shares
                )
                click.echo(f"  delay {delay:g} ms, caller {caller:2} µs, handling {row}")


if __name__ == "__main__":
    main()
