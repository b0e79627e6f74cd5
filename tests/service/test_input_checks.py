"""Inputs that match a signature, and inputs that do not."""

from typing import Any

import numpy as np
import pytest

from registry.batching import rows_are_free
from registry.manifest import Signature, TensorSpec
from service.errors import InvalidRequest, TooLarge
from service.protocol.named_rows import ArrayTensor
from service.protocol.validation import InputCheck
from tests.service.in_process import MANIFEST

CHECK = InputCheck(MANIFEST, max_rows=5)


def _x(*rows: list[float]) -> ArrayTensor:
    return ArrayTensor("x", "FP32", np.array(rows, np.float32))


def _word(*words: str) -> ArrayTensor:
    return ArrayTensor("word", "BYTES", np.array(words, object))


def test_valid_inputs_become_arrays_and_event_values() -> None:
    inputs = CHECK.read([_x([1, np.nan], [2, np.inf]), _word("a", "")])
    assert (inputs.rows, inputs.size) == (2, 16 + 1)
    assert inputs.tensors["x"].data == [1.0, None, 2.0, "Infinity"]
    assert inputs.tensors["word"].data == ["a", ""]
    assert inputs.arrays["x"].dtype == np.float32


REFUSED: dict[str, tuple[list[Any], str]] = {
    "missing": ([_x([1, 2])], "'word': missing; expected BYTES of shape"),
    "unknown": ([_x([1, 2]), _word("a"), ArrayTensor("z", "FP32", np.zeros(1))], "'z': unknown"),
    "twice": ([_x([1, 2]), _x([1, 2]), _word("a")], "'x': is in the request more than once"),
    "type": ([_x([1, 2]), ArrayTensor("word", "INT8", np.zeros(1))], "'word': datatype 'INT8'"),
    "rank": ([_x([1, 2]), ArrayTensor("word", "BYTES", np.zeros((1, 1, 1)))], r"'word': shape"),
    "width": (
        [_x([1, 2, 3]), _word("a")],
        r"'x': shape \[1, 3\]; expected FP32 of shape \[-1, 2\]",
    ),
    "rows": ([_x([1, 2]), _word("a", "b")], "'word': has 2 rows, but input 'x' has 1"),
    "none": ([ArrayTensor("x", "FP32", np.zeros((0, 2))), _word()], "'x': shape has no rows"),
    "NaN": ([_x([1, 2], [np.nan, 2]), _word("a", "b")], "row 1, feature 'a' is nan"),
    "infinity": ([_x([-np.inf, 2]), _word("a")], "row 0, feature 'a' is -inf"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_input_is_refused_by_name(case: str) -> None:
    tensors, message = REFUSED[case]
    with pytest.raises(InvalidRequest, match=message):
        CHECK.read(tensors)


def test_too_many_rows_are_too_large() -> None:
    with pytest.raises(TooLarge, match="6 rows in one request; expected at most 5"):
        CHECK.read([_x(*[[1, 2]] * 6), _word(*"abcdef")])


def test_an_unknown_requested_output_is_refused() -> None:
    CHECK.check_outputs(["y"])
    with pytest.raises(InvalidRequest, match="unknown output 'z'; expected 'y'"):
        CHECK.check_outputs(["y", "z"])


@pytest.mark.parametrize(
    ("inputs", "output", "batched"),
    [
        ([[-1, 2], [-1]], [-1], True),
        ([[-1, 2], [1]], [-1], False),
        ([[-1, -1]], [-1], True),
        ([[-1, 2]], [1], False),
        ([[-1, 2]], [], False),
    ],
)
def test_requests_share_a_run_if_every_first_dimension_is_free(
    inputs: list[list[int]], output: list[int], batched: bool
) -> None:
    specs = [TensorSpec(f"i{n}", "FP32", shape) for n, shape in enumerate(inputs)]
    assert rows_are_free(Signature(specs, [TensorSpec("o", "FP32", output)])) == batched
