"""Test by trial runs whether a model computes each row independently of other rows.

The tested rows are called subjects; the other rows of a run are called neighbours. Two comparisons:

- Different neighbours: the runs have the same size, and the same subjects at the same positions.
  Only the neighbours differ: other rows, smallest and largest values, zeros, values far outside the
  range, missing values, long texts, and the subjects themselves. The same kernels run in the same
  order, so the subjects' outputs must not change: integers, texts and shapes must be equal,
  floating-point numbers can differ by a relative 1e-6.
- Single or in a batch: a subject's outputs in runs of several sizes are compared with its outputs
  in a run of only this row. If rows are small, sizes up to the largest batch are tested.
  Kernels can sum one row and many rows in different order, so numbers can differ by 0.5 % of the
  output's largest value, or more if rounding the inputs has a similar effect.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ml_dtypes
import msgspec
import numpy as np

from registry.datatypes import is_floating

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Run = Callable[[Arrays], Mapping[str, Array]]

SIZES = (2, 3, 7, 16, 33)  # numbers of rows in a run
_MOST_INPUTS = (
    1 << 14
)  # input values of the largest run; intermediate values can be 1,000 times more
_MOST_OUTPUTS = 1 << 20  # output values of the largest run
_SUBJECTS = 17  # every other row of a run of 33 rows
_SAME = 1e-6  # relative tolerance between runs with different neighbours
_CLOSE = 5e-3  # tolerance between runs of different sizes, relative to the output's largest number
_ROUNDING = 1e-6  # relative perturbation of an input, as large as rounding
_ROUNDED = 8  # number of perturbed inputs to try if outputs of different sizes differ
_FAR = 1_000  # factor between the inputs' range and extreme values
_LONG = 64  # number of words in a long text


class ProbeFindings(msgspec.Struct, frozen=True):
    """The reasons why rows cannot share a run; empty if they can."""

    faults: dict[str, str] = {}  # output -> fault
    failure: str = ""  # fault of the model as a whole


def probe_rows(run: Run, rows: Arrays, most: int) -> ProbeFindings:
    """Compare the outputs of rows in batches of up to `most` rows and in runs of single rows.

    `rows` maps each input to tens or hundreds of ordinary rows. If `run` raises on ordinary rows,
    this is a finding. If it raises on extreme neighbours, these are skipped.
    """
    probe = _Probe(run, rows)
    findings = probe.findings([size for size in SIZES if size <= max(most, 2)])
    if findings.faults or findings.failure:
        return findings
    largest = probe.largest(most)
    return probe.findings_of_largest(largest) if largest > SIZES[-1] else findings


class _Probe:
    def __init__(self, run: Run, rows: Arrays) -> None:
        self._run = run
        count = len(next(iter(rows.values())))
        places = np.linspace(0, count - 1, _SUBJECTS).round().astype(int)
        self._subjects = {name: array[places] for name, array in rows.items()}
        self._neighbours = [_others(rows), *_extremes(rows)]
        self._alone: list[Mapping[str, Array]] = []
        self._scale: dict[str, float] = {}
        self._faults: dict[str, str] = {}

    def findings(self, sizes: Sequence[int]) -> ProbeFindings:
        try:
            self._alone = [self._run(self._only(row)) for row in range(_SUBJECTS)]
            repeated = self._run(self._only(0))
        except Exception:  # noqa: BLE001  # any error prevents the comparison
            return ProbeFindings(failure="the model fails on rows of the reference")
        for name, output in self._alone[0].items():
            if output.shape[:1] != (1,):
                self._faults[name] = f"has shape {list(output.shape)} for one row"
            elif not _same(output, repeated[name]):
                self._faults[name] = "differs between two runs of the same row"
        self._scale = {
            name: max(_largest(outputs[name]) for outputs in self._alone) for name in self._alone[0]
        }
        for size in sizes:
            for first in (0, 1):  # subjects at even positions, then at odd positions
                failure = self._compare(size, np.arange(first, size, 2))
                if failure:
                    return ProbeFindings(self._faults, failure)
        return ProbeFindings(self._faults)

    def largest(self, most: int) -> int:
        """Return the number of rows, at most `most`, of the largest run that is fast enough."""
        input_size = sum(array.size // len(array) for array in self._subjects.values())
        output_size = sum(output.size for output in self._alone[0].values())
        return int(
            min(most, _MOST_INPUTS // max(input_size, 1), _MOST_OUTPUTS // max(output_size, 1))
        )

    def findings_of_largest(self, size: int) -> ProbeFindings:
        """Compare one run of many rows with different neighbours, and with single rows."""
        places = np.linspace(0, size - 1, _SUBJECTS).round().astype(int)
        try:
            expected = self._together(size, places, self._neighbours[0])
        except Exception:  # noqa: BLE001  # the model accepts fewer rows
            return ProbeFindings(failure=f"the model fails on a batch of {size} rows")
        with suppress(Exception):  # the model refuses extreme rows
            outputs = self._together(size, places, self._neighbours[1])
            for name, output in outputs.items():
                self._compare_neighbours(name, output, expected[name], places)
        for name, output in expected.items():
            self._compare_with_alone(name, output, places)
        return ProbeFindings(self._faults)

    def _compare(self, size: int, places: Array) -> str:
        """Record differences of outputs in runs of `size` rows; return a failure of the model."""
        try:
            expected = self._together(size, places, self._neighbours[0])
        except Exception:  # noqa: BLE001  # the model accepts each row in a separate run
            return f"the model fails on a batch of {size} rows"
        for name, output in expected.items():
            if output.shape[:1] != (size,):
                self._note(name, f"has shape {list(output.shape)} for {size} rows")
        for neighbours in [*self._neighbours[1:], self._subjects]:
            try:
                outputs = self._together(size, places, neighbours)
            except Exception:  # noqa: BLE001, S112  # the model refuses extreme rows
                continue
            for name, output in outputs.items():
                if name not in self._faults:
                    self._compare_neighbours(name, output, expected[name], places)
        for name, output in expected.items():
            self._compare_with_alone(name, output, places)
        return ""

    def _compare_neighbours(self, name: str, output: Array, expected: Array, places: Array) -> None:
        if len(output.shape) == 0 or len(output) != len(expected):
            self._note(name, f"has shape {list(output.shape)} for {len(expected)} rows")
        elif not _same(output[places], expected[places]):
            self._note(name, "for a row depends on the other rows of its run")

    def _compare_with_alone(self, name: str, output: Array, places: Array) -> None:
        if name in self._faults:
            return
        for subject, place in enumerate(places):
            alone = self._alone[subject][name]
            here = output[place : place + 1]
            if alone.shape != here.shape:
                self._note(name, "for a row has different shapes in a batch and in a single run")
            elif not self._close(name, alone, here) and not self._rounds_to(name, subject, here):
                self._note(name, f"for a row differs in a batch of {len(output)} rows")
            if name in self._faults:
                return

    def _close(self, name: str, alone: Array, here: Array) -> bool:
        if not is_floating(alone):
            return _same(alone, here)
        return _near(alone, here, _CLOSE * self._scale[name])

    def _rounds_to(self, name: str, subject: int, here: Array) -> bool:
        """Return whether rounding the subject's inputs changes its output by a similar amount."""
        alone = self._alone[subject][name]
        distance = _distance(alone, here)
        random = np.random.default_rng(subject)
        for _ in range(_ROUNDED):
            rounded = {
                input_name: _rounded(array, random)
                for input_name, array in self._only(subject).items()
            }
            try:
                again = self._run(rounded)[name]
            except Exception:  # noqa: BLE001, S112  # a failed run proves nothing
                continue
            if again.shape == alone.shape and _distance(alone, again) * 4 >= distance:
                return True
        return False

    def _together(self, size: int, places: Array, neighbours: Arrays) -> Mapping[str, Array]:
        feed = {}
        for name, subjects in self._subjects.items():
            others = neighbours[name]
            mixed = others[np.arange(size) // 2 % len(others)].copy()
            mixed[places] = subjects[: len(places)]
            feed[name] = mixed
        return self._run(feed)

    def _only(self, row: int) -> dict[str, Array]:
        return {name: array[row : row + 1] for name, array in self._subjects.items()}

    def _note(self, name: str, fault: str) -> None:
        self._faults.setdefault(name, fault)


def _others(rows: Arrays) -> dict[str, Array]:
    """Return neighbours from `rows`, in reverse order so that no row is next to itself."""
    count = len(next(iter(rows.values())))
    places = (np.linspace(count - 1, 0, _SUBJECTS) + count / 3).round().astype(int) % count
    return {name: array[places] for name, array in rows.items()}


def _extremes(rows: Arrays) -> Iterator[dict[str, Array]]:
    """Yield extreme rows, each of which is used for all neighbours of a run."""
    for kind in (_smallest, _largest_value, _zero, _far_above, _far_below, _missing):
        yield {name: kind(array)[np.newaxis] for name, array in rows.items()}
    # A model can refuse extremes of all inputs together, but accept extremes of only its floats.
    if not all(map(is_floating, rows.values())):
        for kind in (_far_above, _far_below):
            yield {
                name: kind(array)[np.newaxis] if is_floating(array) else array[:1]
                for name, array in rows.items()
            }


def _smallest(array: Array) -> Array:
    if array.dtype.kind == "O":
        return _texts(array, "")
    return _column_wise(array, np.min)


def _largest_value(array: Array) -> Array:
    if array.dtype.kind == "O":
        return _texts(array, max(map(str, array.ravel()), key=len, default=""))
    return _column_wise(array, np.max)


def _zero(array: Array) -> Array:
    """Return zeros; integers stay unchanged, because they can be category codes without 0."""
    if array.dtype.kind == "O":
        return _texts(array, "0")
    row: Array = np.array(array[-1])
    return np.zeros_like(row) if is_floating(array) else row


def _far_above(array: Array) -> Array:
    if array.dtype.kind == "O":
        words = [word for text in array.ravel() for word in str(text).split()] or ["x"]
        return _texts(array, " ".join(words[place % len(words)] for place in range(_LONG)))
    return _far(array, 1) if is_floating(array) else _column_wise(array, np.max)


def _far_below(array: Array) -> Array:
    if array.dtype.kind == "O":
        return _texts(array, "x")
    return _far(array, -1) if is_floating(array) else _column_wise(array, np.min)


def _missing(array: Array) -> Array:
    if array.dtype.kind == "O":
        return _texts(array, "")
    row: Array = np.array(array[-1])
    return np.full_like(row, np.nan) if is_floating(array) else row


def _far(array: Array, sign: int) -> Array:
    low, high = (_column_wise(array, which).astype(np.float64) for which in (np.min, np.max))
    reach = _FAR * np.maximum(np.maximum(high - low, np.maximum(abs(high), abs(low))), 1.0)
    largest = float(ml_dtypes.finfo(array.dtype).max) / 2  # type: ignore[no-untyped-call]
    far: Array = np.clip(sign * reach, -largest, largest).astype(array.dtype)
    return far


def _column_wise(array: Array, which: Callable[..., Array]) -> Array:
    """Return the smallest or largest number of each column."""
    if not is_floating(array):
        return np.asarray(which(array, axis=0), dtype=array.dtype)
    finite = np.where(np.isfinite(array), array, array.dtype.type(0))
    return np.asarray(which(finite, axis=0), dtype=array.dtype)


def _texts(array: Array, text: str) -> Array:
    row: Array = np.empty(array.shape[1:], dtype=object)
    row[...] = text
    return row


def _rounded(array: Array, random: np.random.Generator) -> Array:
    if not is_floating(array):
        return array
    by = max(_ROUNDING, float(ml_dtypes.finfo(array.dtype).eps))  # type: ignore[no-untyped-call]
    factors: Array = np.asarray(1 + by * random.uniform(-1, 1, array.shape))
    shifted: Array = array * factors.astype(array.dtype)
    return shifted


def _same(array: Array, other: Array) -> bool:
    if array.shape != other.shape:
        return False
    if not is_floating(array):
        return bool(np.array_equal(array, other))
    return _near(array, other, 0.0)


def _near(array: Array, other: Array, slack: float) -> bool:
    """Return whether all numbers are equal, both NaN, or within a relative 1e-6 plus `slack`."""
    first, second = array.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        allowed = _SAME * np.maximum(abs(first), abs(second)) + slack
        apart = abs(first - second) > allowed
        equal = (first == second) | (np.isnan(first) & np.isnan(second))
        unlike = np.isfinite(first) != np.isfinite(second)
    return not bool((~equal & (apart | unlike | ~np.isfinite(first))).any())


def _distance(array: Array, other: Array) -> float:
    """Return the largest difference of two outputs, or 0 or 1 for integers and texts."""
    if not is_floating(array):
        return float(not np.array_equal(array, other))
    with np.errstate(invalid="ignore"):
        apart = np.abs(array.astype(np.float64) - other.astype(np.float64))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def _largest(output: Array) -> float:
    if not is_floating(output):
        return 0.0
    finite = output[np.isfinite(output)].astype(np.float64)
    return float(abs(finite).max(initial=0.0))
