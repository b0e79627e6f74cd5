"""Measure the cost of a run of a loaded model, which also warms the model up."""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf, prod
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from registry.datatypes import NUMPY
from registry.encoded_files import Files
from registry.features import signature
from registry.generated_rows import declared, generate_rows
from registry.manifest import Manifest, TensorSpec
from registry.rows import FREE, batch_dimension
from service.errors import ServingError

Array = np.ndarray[Any, Any]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]

_REPEATS = 5  # measurements of a run; the median counts
_ROWS = 64  # maximum number of generated rows
_MOST_BYTES = 16 * 2**20  # maximum size of generated inputs
_SIZE = 8  # size of a free dimension in generated inputs
_SHORT = 64  # length up to which a text costs no more than the measured texts
_SLOW = 0.001  # seconds; if one row takes this long, no run with more rows is measured

_logger = logging.getLogger(__name__)


class RunCost(msgspec.Struct, frozen=True):
    """The duration of a run as a linear function of its rows, in seconds."""

    first_row: float  # seconds of a run with one row
    row: float  # seconds of each further row
    size: int = 0  # size of a measured row in bytes, if rows contain texts; otherwise 0

    def of(self, rows: int, size: int) -> float:
        """Return the expected duration of a run of `rows` rows and `size` bytes in total.

        If the rows are larger than the measured rows, the duration grows by the squared ratio.
        """
        expected = self.first_row + (rows - 1) * self.row
        usual = self.size * rows
        return expected * (size / usual) ** 2 if usual and size > usual else expected


UNKNOWN_COST = RunCost(inf, 0.0)  # with this cost, all runs use another thread


def measure(
    run: Run,
    rows_of: Callable[[int], Mapping[str, Array]],
    many: int,
    clock: Callable[[], float] = time.perf_counter,
) -> RunCost:
    """Measure runs of one row and of `many` rows; the slower first run of each does not count.

    `rows_of` returns inputs with a number of rows. `many` is 1 for a model that runs no batches.
    """

    size = 0

    def duration(rows: int) -> float:
        nonlocal size
        inputs = rows_of(rows)
        size = max(size, _row_size(inputs, rows))
        run(inputs)
        return statistics.median(_time(run, inputs, clock) for _ in range(_REPEATS))

    one_row = duration(1)
    further = max(0.0, duration(many) - one_row) / (many - 1) if many > 1 else 0.0
    return RunCost(one_row, further, size)


def _row_size(inputs: Mapping[str, Array], rows: int) -> int:
    """Return the size of a row in bytes; 0 if there are no texts, because all sizes are equal."""
    texts = [array for array in inputs.values() if array.dtype == np.object_]
    if not texts:
        return 0
    numbers = sum(array.nbytes for array in inputs.values() if array.dtype != np.object_)
    letters = sum(len(text) for array in texts for text in array.ravel())
    return max(_SHORT * len(texts), (numbers + letters) // rows)


def measure_generated(
    run: Run, manifest: Manifest, files: Files = MappingProxyType({}), *, batched: bool
) -> RunCost:
    """Measure runs of generated inputs, for a version without reference rows.

    Returns UNKNOWN_COST if rows have no fixed size or the model rejects the inputs.
    """
    model_signature = signature(manifest)
    varied = any(FREE in spec.shape[1:] for spec in model_signature.inputs)
    fixed = batch_dimension(model_signature) != FREE
    row_bytes = sum(
        array.nbytes for array in generated_inputs(model_signature.inputs, 1, files).values()
    )
    most = max(1, min(_ROWS, manifest.max_batch_size, _MOST_BYTES // max(1, row_bytes)))
    many = most if batched and not (varied or fixed) else 1

    def rows_of(rows: int) -> dict[str, Array]:
        return generated_inputs(model_signature.inputs, rows, files)

    try:
        cost = measure(run, rows_of, 1)
        if many > 1 and cost.first_row < _SLOW:
            cost = measure(run, rows_of, many)
        elif many > 1:
            cost = RunCost(cost.first_row, cost.first_row, cost.size)
    except ServingError as error:
        _logger.info("the model rejected warm-up inputs, so its cost is unknown: %s", error)
        return UNKNOWN_COST
    return UNKNOWN_COST if varied else cost


def generated_inputs(
    specs: Sequence[TensorSpec], rows: int, files: Files = MappingProxyType({})
) -> dict[str, Array]:
    """Return inputs of these shapes: 0, false, the text "a", or generated files."""
    arrays = {spec.name: _generated(spec, rows) for spec in specs}
    generated = next(generate_rows(declared(specs), rows, files)) if files else {}
    return arrays | {name: generated[name] for name in files}


def _generated(spec: TensorSpec, rows: int) -> Array:
    shape = [_SIZE if size == FREE else size for size in spec.shape]
    if spec.shape[:1] == [FREE]:
        shape[0] = rows
    if spec.datatype == "BYTES":
        array: Array = np.array(["a"] * prod(shape), dtype=np.object_)
        return array.reshape(shape)
    return np.zeros(shape, NUMPY[spec.datatype])


def _time(run: Run, inputs: Mapping[str, Array], clock: Callable[[], float]) -> float:
    started = clock()
    run(inputs)
    return clock() - started
