"""Conversions with `coerce: true`, and [N] for [N, 1]; the reply reports both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from service.errors import InvalidRequest
from tests.service.any_shape import FLOAT, INT64, AnyShapeBench, identity

U8 = TensorProto.UINT8


@pytest.fixture
def bench(tmp_path: Path) -> AnyShapeBench:
    return AnyShapeBench(tmp_path)


@pytest.mark.parametrize(
    ("kind", "shape", "sent", "note"),
    [
        (FLOAT, [None, 1], np.array([0.5, 2.0], np.float32), "x: FP32 [2] to FP32 [2, 1]"),
        (FLOAT, [None], np.array([[0.5], [2.0]], np.float32), "x: FP32 [2, 1] to FP32 [2]"),
        (FLOAT, [None], np.array([0.1, 2.0], np.float64), "x: FP64 [2] to FP32 [2]"),
        (FLOAT, [None, 1], np.array([1, 2], np.int64), "x: INT64 [2] to FP32 [2, 1]"),
        (INT64, [None], np.array([1.0, 2.0], np.float32), "x: FP32 [2] to INT64 [2]"),
        (FLOAT, [None], np.array([np.nan, np.inf], np.float64), "x: FP64 [2] to FP32 [2]"),
    ],
)
async def test_convertible_values_are_converted_and_the_reply_reports_it(
    bench: AnyShapeBench, kind: int, shape: list[Any], sent: Any, note: str
) -> None:
    await bench.serve(identity(*shape, kind=kind), coerce=True)
    for answer in (await bench.as_binary(x=sent), await bench.as_grpc(x=sent)):
        assert answer.parameters()["coerced"] == note
        assert np.array_equal(
            answer.run.outputs["y"].ravel(), sent.astype(answer.run.outputs["y"].dtype).ravel(),
            equal_nan=sent.dtype.kind == "f",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (FLOAT, np.array([1e300])),
        (FLOAT, np.array([2**24 + 1])),
        (INT64, np.array([0.5])),
        (INT64, np.array([np.nan])),
        (INT64, np.array([2**63 + 1], np.uint64)),
        (U8, np.array([256])),
        (U8, np.array([-1])),
    ],
)
async def test_inconvertible_values_are_refused(bench: AnyShapeBench, kind: int, sent: Any) -> None:
    await bench.serve(identity(None, kind=kind), coerce=True)
    with pytest.raises(InvalidRequest, match=r"input 'x': .* does not fit"):
        await bench.as_binary(x=sent)


async def test_without_coercion_nothing_is_converted(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None, 1))
    with pytest.raises(InvalidRequest, match="datatype 'FP64'; expected FP32"):
        await bench.as_json(x=np.array([[0.5]]))
    with pytest.raises(InvalidRequest, match=r"shape \[1, 2\]; expected FP32 of shape \[-1, 1\]"):
        await bench.as_json(x=np.array([[0.5, 1]], np.float32))
    answer = await bench.as_json(x=np.array([[0.5]], np.float32))
    assert "coerced" not in answer.parameters()


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("values", [[0.5], [0.5, 2.0]])
async def test_a_vector_and_a_single_column_are_equivalent_without_a_setting(
    bench: AnyShapeBench, column: bool, values: list[float]
) -> None:
    await bench.serve(identity(*([None, 1] if column else [None])))
    rows = np.array(values, np.float32)
    sent = rows if column else rows[:, None]
    for answer in (await bench.as_json(x=sent), await bench.as_binary(x=sent)):
        assert answer.run.outputs["y"].ravel().tolist() == values
        taken = [len(values), 1] if column else [len(values)]
        stated = f"x: FP32 {list(sent.shape)} to FP32 {taken}"
        assert answer.parameters()["coerced"] == stated


async def test_strings_are_never_converted_to_numbers(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None), coerce=True)
    with pytest.raises(InvalidRequest, match="datatype 'BYTES'; expected FP32"):
        await bench.as_json(x=np.array(["1"], dtype=object))
