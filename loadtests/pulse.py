"""Whether the generator keeps up with itself: its CPU, and how late its event loop is."""

import time

import gevent

from loadtests.verdict import Generator

_PERIOD = 0.05  # seconds
_KEPT = 20_000  # of the latest beats: a quarter of an hour


class Pulse:
    """Beats in a greenlet of its own from `start` on."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._wall = self._cpu = 0.0

    def start(self) -> None:
        """Restart with the load."""
        self._late = []
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def beat(self) -> None:
        """Note again and again how late sleep ends; never returns."""
        while True:
            before = time.perf_counter()
            gevent.sleep(_PERIOD)
            if before < self._wall:
                continue  # this beat began before the load did
            self._late.append(time.perf_counter() - before - _PERIOD)
            if len(self._late) > 2 * _KEPT:
                del self._late[:_KEPT]

    def taken(self) -> Generator:
        """How this process fared since `start`."""
        passed = time.perf_counter() - self._wall
        ordered = sorted(self._late) or [0.0]
        return Generator(
            cpu=(time.process_time() - self._cpu) / passed if self._wall else 0.0,
            late_ms=1000 * ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)],
        )
