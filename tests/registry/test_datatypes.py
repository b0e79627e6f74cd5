"""The three names of each element type."""

import numpy as np
import pytest

from registry.datatypes import NUMPY, from_onnx, of_array
from registry.errors import InvalidModel


@pytest.mark.parametrize("datatype", NUMPY)
def test_an_array_of_a_datatype_is_of_that_datatype(datatype: str) -> None:
    assert of_array(np.empty(3, dtype=NUMPY[datatype])) == datatype


def test_numpys_own_strings_are_bytes_too() -> None:
    assert of_array(np.array(["a", "bc"])) == "BYTES"


@pytest.mark.parametrize(
    ("onnx", "datatype"),
    [("tensor(float)", "FP32"), ("tensor(int64)", "INT64"), ("tensor(string)", "BYTES")],
)
def test_onnx_types_have_datatypes(onnx: str, datatype: str) -> None:
    assert from_onnx(onnx) == datatype


def test_an_unsupported_datatype_is_refused_with_the_supported_ones() -> None:
    with pytest.raises(InvalidModel, match=r"tensor\(complex64\).*expected one of.*tensor\(float"):
        from_onnx("tensor(complex64)")


def test_dates_have_no_datatype() -> None:
    with pytest.raises(TypeError, match="datetime64"):
        of_array(np.array(["2013-01-01"], dtype="datetime64[D]"))
