"""The signature that is read from an ONNX file."""

import onnx
import pytest
from onnx import TensorProto, helper

from registry.errors import InvalidManifest, InvalidModel
from registry.manifest import Signature, TensorSpec
from registry.onnx_file import load
from registry.rows import batch_dimension
from registry.signature import fixed_rows, read_signature, require_agreement
from tests.tiny_model import as_model

PRICE = TensorSpec("price", "FP32", [-1, 1])
COLOUR = TensorSpec("colour", "BYTES", [-1, 1])
LABEL = TensorSpec("label", "INT64", [-1])
PROBABILITIES = TensorSpec("probabilities", "FP32", [-1, 2])


def test_the_signature_has_the_files_order(classifier: onnx.ModelProto) -> None:
    signature = read_signature(load(classifier.SerializeToString()))
    assert signature == Signature([PRICE, COLOUR], [LABEL, PROBABILITIES])


def test_a_named_dimension_is_free(classifier: onnx.ModelProto) -> None:
    classifier.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    assert read_signature(load(classifier.SerializeToString())).inputs[0] == PRICE


def test_a_fixed_first_dimension_is_the_number_of_rows_of_every_request(
    classifier: onnx.ModelProto,
) -> None:
    for tensor in classifier.graph.input:
        tensor.type.tensor_type.shape.dim[0].dim_value = 4
    assert fixed_rows(read_signature(load(classifier.SerializeToString()))) == 4


def tensor(*shape: int) -> TensorSpec:
    return TensorSpec("x", "FP32", list(shape))


@pytest.mark.parametrize(
    ("inputs", "outputs", "size"),
    [
        ([tensor(-1, 3)], [tensor(-1)], -1),
        ([tensor(-1, -1), tensor(-1)], [tensor(-1, 5)], -1),
        ([tensor(4, 3), tensor(4)], [tensor(4)], 4),
        ([tensor(1, 3, 8, 8)], [tensor(1, 10)], 1),
        ([tensor(3, 8, 8)], [tensor(10)], None),  # an image without a batch dimension
        ([tensor(-1, 3), tensor(1, 4)], [tensor(-1)], -1),
        ([tensor(4, 3), tensor()], [tensor(4)], None),
        ([tensor()], [tensor()], None),
    ],
)
def test_the_batch_dimension_is_the_first_of_the_inputs(
    inputs: list[TensorSpec], outputs: list[TensorSpec], size: int | None
) -> None:
    signature = Signature(inputs, outputs)
    assert batch_dimension(signature) == size
    assert fixed_rows(signature) == (None if size == -1 else size)


def test_a_model_without_inputs_is_refused(classifier: onnx.ModelProto) -> None:
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value_float=1.0)],
        "constant",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    with pytest.raises(InvalidModel, match="the model has no input"):
        read_signature(load(as_model(graph).SerializeToString()))


def test_a_model_without_outputs_is_refused(classifier: onnx.ModelProto) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "silent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [],
    )
    with pytest.raises(InvalidModel, match="the model has no output"):
        read_signature(load(as_model(graph).SerializeToString()))


def test_a_zipmap_is_refused_with_the_fix(classifier: onnx.ModelProto) -> None:
    zipmap = helper.make_node(
        "ZipMap", ["probabilities"], ["zipped"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
    )
    classifier.graph.node.append(zipmap)
    of_floats = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, of_floats))
    classifier.graph.output[1].CopyFrom(helper.make_value_info("zipped", maps))
    with pytest.raises(InvalidModel, match=r"'zipped' is a seq\(map.*options=\{'zipmap': False\}"):
        read_signature(load(classifier.SerializeToString()))


def test_the_order_of_tensors_need_not_agree() -> None:
    require_agreement(Signature([PRICE, COLOUR], [LABEL]), Signature([COLOUR, PRICE], [LABEL]))


def test_every_disagreement_is_listed() -> None:
    stated = Signature([TensorSpec("price", "FP64", [-1, 1])], [LABEL])
    with pytest.raises(InvalidManifest) as refused:
        require_agreement(stated, Signature([PRICE, COLOUR], [LABEL]))
    message = str(refused.value)
    assert "'price' is FP64 [-1, 1] in the manifest but FP32 [-1, 1] in the ONNX file" in message
    assert "'colour' is absent in the manifest but BYTES [-1, 1] in the ONNX file" in message
    assert "label" not in message
