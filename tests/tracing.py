"""Choose the tests that coverage traces, because tracing can triple the time of pure code.

Coverage traces the first cases of every test function and the first examples of every property. It
traces no test that is marked `untraced` or lies in one of the folders `UNTRACED`: these tests run
lines that other tests run too. The choice depends on no clock. The measured coverage is a lower
bound of the whole run's coverage. `make coverage` traces every test.
"""

import collections
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from coverage import Coverage

CASES = 5  # of a test function with parameters
EXAMPLES = 5  # of a property
# Folders below tests/ whose tests mostly run other processes, or lines that unit tests run too.
UNTRACED = frozenset(
    {
        "architecture",
        "benchmarks",
        "conformance",
        "deploy",
        "docs",
        "e2e",
        "examples",
        "integration",
        "loadtests",
        "oracle",
    }
)


class TracedCases:
    """Trace the first cases and examples of each test function."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._cases: collections.Counter[str] = collections.Counter()
        self._tracing = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Decide at the start of a test, before its fixtures are made."""
        function = item.nodeid.partition("[")[0]
        self._cases[function] += 1
        folder = item.nodeid.removeprefix("tests/").partition("/")[0]
        untraced = folder in UNTRACED or item.get_closest_marker("untraced") is not None
        if self._cases[function] == 1 and isinstance(item, pytest.Function):
            self._limit_examples(item.obj)
        self._trace(on=not untraced and self._cases[function] <= CASES)
        return (yield)

    def _limit_examples(self, test: Any) -> None:
        """Stop tracing a property after its first examples."""
        handle = getattr(test, "hypothesis", None)  # a state machine has none
        if handle is not None:
            handle.inner_test = self._traced_at_first(handle.inner_test)

    def _traced_at_first(self, example: Callable[..., Any]) -> Callable[..., Any]:
        left = EXAMPLES

        @functools.wraps(example)
        def run(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                self._trace(on=False)
            return example(*arguments, **named)

        return run

    def _trace(self, *, on: bool) -> None:
        if on == self._tracing:
            return
        self._tracing = on
        if on:
            patched = os._exit  # every start() would wrap it once more
            self._coverage.start()
            os._exit = patched
        else:
            self._coverage.stop()
