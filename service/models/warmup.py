"""Runs a loaded model on its reference rows, and measures what a run costs."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]

_REPEATS = 5


class RunCost(msgspec.Struct, frozen=True):
    """What a run costs: a line through two measured points, in seconds."""

    one: float  # a run of one row
    row: float  # every further row

    def of(self, rows: int) -> float:
        """The expected duration of a run of so many rows."""
        return self.one + (rows - 1) * self.row


def measure(
    run: Run,
    rows_of: Callable[[int], Mapping[str, Array]],
    many: int,
    clock: Callable[[], float] = time.perf_counter,
) -> RunCost:
    """Run one row and `many` rows a few times; the first, cold runs do not count.

    `rows_of` gives the inputs of so many rows. `many` is 1 where the model takes no batches.
    """

    def duration(rows: int) -> float:
        inputs = rows_of(rows)
        run(inputs)
        return statistics.median(_time(run, inputs, clock) for _ in range(_REPEATS))

    one = duration(1)
    return RunCost(one, max(0.0, duration(many) - one) / (many - 1) if many > 1 else 0.0)


def _time(run: Run, inputs: Mapping[str, Array], clock: Callable[[], float]) -> float:
    started = clock()
    run(inputs)
    return clock() - started
