"""Where a run is executed, and the memory that it leaves allocated."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from registry.manifest import SessionOptions
from service.models.loader import SessionRunner
from service.models.warmup import RunCost, measure
from service.sessions.session import Session
from service.sessions.value_dependence import depends_on_values
from tests.tiny_model import as_model, filled, tiny_classifier

LARGE = 10**8  # elements, of four bytes


def _within_a_branch(node: onnx.NodeProto) -> onnx.ModelProto:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    branch = helper.make_graph([node], "branch", [], [y])
    outer = helper.make_node("Whatever", ["x"], ["y"], body=branch)
    return as_model(helper.make_graph([outer], "g", [], [y]))


def _within_a_function(node: onnx.NodeProto) -> onnx.ModelProto:
    opset = helper.make_opsetid("", 18)
    function = helper.make_function("own", "f", ["x"], ["y"], [node], [opset])
    call = helper.make_node("f", ["x"], ["y"], domain="own")
    graph = helper.make_graph([call], "g", [], [])
    return helper.make_model(graph, functions=[function], opset_imports=[opset])


@pytest.mark.parametrize("operator", ["Loop", "If", "Range", "ConstantOfShape", "Tile", "NonZero"])
def test_operators_with_value_dependent_sizes_are_found_anywhere(operator: str) -> None:
    node = helper.make_node(operator, ["x"], ["y"])
    graph = as_model(helper.make_graph([node], "g", [], []))
    for model in (graph, _within_a_branch(node), _within_a_function(node)):
        assert depends_on_values(model.SerializeToString())


def test_ordinary_models_do_not_depend_on_values() -> None:
    assert not depends_on_values(tiny_classifier().SerializeToString())


@given(rows=st.integers(1, 1000), size=st.integers(0, 10**9))
def test_larger_rows_never_have_a_lower_estimate(rows: int, size: int) -> None:
    cost = RunCost(1e-5, 1e-6, size=64)
    assert cost.of(rows, size) >= cost.of(rows, 0) == RunCost(1e-5, 1e-6).of(rows, size)
    assert cost.of(rows, size + 1) >= cost.of(rows, size)


def test_a_long_string_never_runs_in_the_event_loop() -> None:
    session = Session(tiny_classifier().SerializeToString(), SessionOptions())

    def rows_of(rows: int) -> dict[str, np.ndarray]:
        return {
            "price": np.ones((rows, 1), np.float32),
            "colour": np.full((rows, 1), "red", np.object_),
        }

    cost = measure(session.run, rows_of, 8)
    runner = SessionRunner(session, cost, quick=cost.of(4, 4 * 10))
    assert runner.is_quick(4, 4 * 10)
    assert not runner.is_quick(4, 1 << 20)


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("stoppable", [True, False])
def test_memory_of_a_large_run_is_released(stoppable: bool) -> None:
    session = Session(_summed(), SessionOptions())
    run = session.new_run() if stoppable else session
    run.run({"shape": np.array([3])})
    before = _resident()
    assert run.run({"shape": np.array([LARGE])})["sum"] == pytest.approx(LARGE)
    assert _resident() - before < 4 * LARGE / 2


def _summed() -> bytes:
    """A model that fills a tensor and returns its sum."""
    model = filled("ConstantOfShape")
    model.graph.node.append(helper.make_node("ReduceSum", ["y"], ["sum"], keepdims=0))
    del model.graph.output[0]
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, []))
    return model.SerializeToString()
