"""Run a loaded model on its reference rows and measure the cost of a run."""

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
    """The cost of a run: a line through two measured points, in seconds."""

    one: float  # a run of one row
    row: float  # every further row

    def of(self, rows: int) -> float:
        """Return the expected duration of a run of `rows` rows."""
        return self.one + (rows - 1) * self.row


def measure(
    run: Run,
    rows_of: Callable[[int], Mapping[str, Array]],
    many: int,
    clock: Callable[[], float] = time.perf_counter,
) -> RunCost:
    """Time runs of one row and of `many` rows; discard the first, cold runs.

    `rows_of` returns the inputs of a number of rows. `many` is 1 for a model without batches.
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
