"""Check whether the load generator is overloaded: measure its CPU use and event-loop delay."""

import time

import gevent

from loadtests.verdict import Generator

_PERIOD = 0.05  # seconds between measurements
_RETAINED = 20_000  # latest measurements, about a quarter of an hour


class Pulse:
    """CPU use and event-loop delay since `start`; `beat` must run in its own greenlet."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._wall = self._cpu = 0.0

    def start(self) -> None:
        """Discard earlier measurements and start the clocks."""
        self._late = []
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def beat(self) -> None:
        """Sleep in an endless loop, and record how late each sleep ends."""
        while True:
            before = time.perf_counter()
            gevent.sleep(_PERIOD)
            if before < self._wall:
                continue  # this sleep started before the load
            self._late.append(time.perf_counter() - before - _PERIOD)
            if len(self._late) > 2 * _RETAINED:
                del self._late[:_RETAINED]

    def measured(self) -> Generator:
        """Return CPU use and p95 delay since `start`."""
        passed = time.perf_counter() - self._wall
        ordered = sorted(self._late) or [0.0]
        return Generator(
            cpu=(time.process_time() - self._cpu) / passed if self._wall else 0.0,
            late_ms=1000 * ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)],
        )
