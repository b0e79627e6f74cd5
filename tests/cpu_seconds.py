"""Report the CPU seconds of each test file, with those of every process that it starts.

On a machine whose cores are all busy, the length of a run is the sum of them; how long a test
takes there depends on what ran beside it.
"""

import collections
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

_WORKER_KEY = "cpu_seconds"


class Cost:
    """What one file took."""

    def __init__(self) -> None:
        self.own = 0.0  # CPU seconds of the test process
        self.children = 0.0  # CPU seconds of the processes below it
        self.starts = 0  # of processes, by the test process
        self.tests = 0

    @property
    def total(self) -> float:
        """CPU seconds."""
        return self.own + self.children

    def add(self, own: float, children: float, starts: int, tests: int) -> None:
        self.own += own
        self.children += children
        self.starts += starts
        self.tests += tests


class CpuSeconds:
    """Charge what the process and its descendants compute to the file that runs."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._costs: collections.defaultdict[str, Cost] = collections.defaultdict(Cost)
        self._starts = 0
        self._before = (0.0, 0.0, 0)
        sys.addaudithook(self._count_start)

    def _count_start(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if event in {"subprocess.Popen", "os.fork", "os.posix_spawn"}:
            self._starts += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Begin after the start of the test process."""
        self._before = self._spent()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Charge the file with a test, and with the fixtures made or ended around it."""
        try:
            return (yield)
        finally:
            self._charge(item.location[0], tests=1)

    def pytest_collection_finish(self) -> None:
        """Charge what the imports of the tests cost to none of them."""
        self._charge("(collection)", tests=0)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the figures of a worker to the process that reports."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            self._charge("(end of the session)", tests=0)
            output[_WORKER_KEY] = [
                (file, cost.own, cost.children, cost.starts, cost.tests)
                for file, cost in self._costs.items()
            ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add the figures of a worker that ended."""
        for file, *cost in getattr(node, "workeroutput", {}).get(_WORKER_KEY, []):
            self._costs[file].add(*cost)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the dearest files."""
        total = sum(cost.total for cost in self._costs.values())
        terminalreporter.section(f"{total:,.0f} CPU seconds: dearest files")
        terminalreporter.write_line("  total = tests + processes | starts | tests | file")
        dearest = sorted(self._costs.items(), key=lambda pair: -pair[1].total)
        for file, cost in dearest[: self._lines]:
            terminalreporter.write_line(
                f"{cost.total:7.1f} ={cost.own:6.1f} +{cost.children:6.1f}"
                f" |{cost.starts:5} |{cost.tests:5} | {file}"
            )

    def _charge(self, file: str, tests: int) -> None:
        own, children, starts = self._spent()
        self._costs[file].add(
            own - self._before[0],
            children - self._before[1],
            starts - self._before[2],
            tests,
        )
        self._before = (own, children, starts)

    def _spent(self) -> tuple[float, float, int]:
        """CPU seconds so far of this process, and of everything below it, ended or not."""
        times = os.times()
        below = times.children_user + times.children_system + _running_below(psutil.Process())
        return times.user + times.system, below, self._starts


def _running_below(process: psutil.Process) -> float:
    """CPU seconds of the descendants that run, and of their own ended children."""
    total = 0.0
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            total += sum(child.cpu_times()[:4])
    return total
