"""Run a loaded model on its reference rows and measure the cost of a run."""

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

_REPEATS = 5
_ROWS = 64
_MOST_BYTES = 16 * 2**20  # maximum bytes of generated inputs
_SIZE = 8  # size of a free dimension in generated inputs
_SHORT = 64  # letters of a text that cost no more than the measured ones
_SLOW = 0.001  # seconds, from where on more rows are not tried

_logger = logging.getLogger(__name__)


class RunCost(msgspec.Struct, frozen=True):
    """The cost of a run: a line through two measured points, in seconds."""

    first_row: float  # a run of one row
    row: float  # every further row
    size: int = 0  # bytes of a measured row, where rows differ in size: those of texts

    def of(self, rows: int, size: int) -> float:
        """Return the expected duration of a run of `rows` rows with `size` bytes together.

        Rows larger than the measured ones may cost up to the square of their ratio.
        """
        expected = self.first_row + (rows - 1) * self.row
        usual = self.size * rows
        return expected * (size / usual) ** 2 if usual and size > usual else expected


UNKNOWN_COST = RunCost(inf, 0.0)  # cost of runs that never block the event loop


def measure(
    run: Run,
    rows_of: Callable[[int], Mapping[str, Array]],
    many: int,
    clock: Callable[[], float] = time.perf_counter,
) -> RunCost:
    """Time runs of one row and of `many` rows; discard the first, cold runs.

    `rows_of` returns the inputs of a number of rows. `many` is 1 for a model without batches.
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
    """Return the bytes of a row; 0 without texts, whose rows all have one size."""
    texts = [array for array in inputs.values() if array.dtype == np.object_]
    if not texts:
        return 0
    numbers = sum(array.nbytes for array in inputs.values() if array.dtype != np.object_)
    letters = sum(len(text) for array in texts for text in array.ravel())
    return max(_SHORT * len(texts), (numbers + letters) // rows)


def measure_generated(
    run: Run, manifest: Manifest, files: Files = MappingProxyType({}), *, batched: bool
) -> RunCost:
    """Time runs of generated inputs, for a version without reference rows.

    The cost is unknown where rows have no fixed size, or where the model rejects such inputs:
    then no run may block the event loop.
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
        _logger.info("warm-up inputs were rejected, which is not the model's fault: %s", error)
        return UNKNOWN_COST
    return UNKNOWN_COST if varied else cost


def generated_inputs(
    specs: Sequence[TensorSpec], rows: int, files: Files = MappingProxyType({})
) -> dict[str, Array]:
    """Return zeros, false and the text "a" in the shapes of these inputs; generated files."""
    arrays = {spec.name: _generated(spec, rows) for spec in specs}
    rows_with_files = next(generate_rows(declared(specs), rows, files)) if files else {}
    return arrays | {name: rows_with_files[name] for name in files}


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
