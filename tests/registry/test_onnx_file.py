"""Files that are not loadable ONNX models."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry.errors import InvalidModel
from registry.onnx_file import load


def test_a_whole_model_loads_and_runs(classifier: onnx.ModelProto) -> None:
    session = load(classifier.SerializeToString())
    feed = {"price": np.float32([[0], [0]]), "colour": np.array([["red"], ["blue"]], dtype=object)}
    label, probabilities = session.run(None, feed)
    assert label.tolist() == [1, 0]
    assert probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("content", [b"hello, I am no model", b"\x80\x04\x95"])
def test_other_bytes_are_not_an_onnx_file(content: bytes) -> None:
    with pytest.raises(InvalidModel, match="not an ONNX file"):
        load(content)


def test_an_empty_file_is_not_a_model() -> None:
    with pytest.raises(InvalidModel, match="not a valid ONNX model"):
        load(b"")


def test_a_file_that_was_cut_short_is_refused(classifier: onnx.ModelProto) -> None:
    with pytest.raises(InvalidModel):
        load(classifier.SerializeToString()[:-40])


def test_a_model_that_breaks_the_rules_is_refused_with_the_rule(
    classifier: onnx.ModelProto,
) -> None:
    classifier.graph.node[0].input[0] = "cost"
    with pytest.raises(InvalidModel, match=r"not a valid ONNX model.*cost"):
        load(classifier.SerializeToString())


def test_an_unknown_operator_is_refused_by_name(classifier: onnx.ModelProto) -> None:
    classifier.graph.node[0].domain = "com.example"
    classifier.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(InvalidModel, match=r"ONNX Runtime cannot load.*com.example"):
        load(classifier.SerializeToString())


def _outside(name: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(1, dtype=np.float32), name)
    onnx.external_data_helper.set_external_data(tensor, location="weights.bin")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def test_weights_in_another_file_are_refused_with_the_fix(classifier: onnx.ModelProto) -> None:
    classifier.graph.initializer[0].CopyFrom(_outside("zero"))
    with pytest.raises(InvalidModel, match=r"'zero'.*embed the weights with onnx\.save_model"):
        load(classifier.SerializeToString())


def test_weights_of_an_inner_graph_in_another_file_are_refused(
    classifier: onnx.ModelProto,
) -> None:
    constant = helper.make_node("Constant", [], ["inner"], value=_outside("hidden"))
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])
    inner = helper.make_graph([constant], "inner", [], [result])
    branch = helper.make_node("If", ["yes"], ["unused"], then_branch=inner, else_branch=inner)
    classifier.graph.node.append(branch)
    with pytest.raises(InvalidModel, match="'hidden'"):
        load(classifier.SerializeToString())
