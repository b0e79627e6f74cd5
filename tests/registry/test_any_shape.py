"""Registration of only an ONNX file, with tensors of any shape."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from registry.batching import one_by_one, read_verdict
from registry.errors import InvalidManifest, InvalidModel, InvalidReference
from registry.inference_record import read_inference
from registry.manifest import Version
from registry.reference import load_reference
from registry.reference_path import has_reference
from registry.store import Registry
from tests.registry.conftest import Files
from tests.row_models import softmax
from tests.tiny_model import as_model

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
node, info = helper.make_node, helper.make_tensor_value_info


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    *constants: onnx.TensorProto,
) -> onnx.ModelProto:
    return as_model(helper.make_graph(nodes, "case", inputs, outputs, list(constants)))


def identity(*shape: Any, kind: int = FLOAT) -> onnx.ModelProto:
    nodes = [node("Identity", ["x"], ["y"])]
    return model(nodes, [info("x", kind, shape)], [info("y", kind, shape)])


def image(*, batch: Any) -> onnx.ModelProto:
    """The mean of each channel of an image of any size."""
    nodes = [
        node("GlobalAveragePool", ["image"], ["pooled"]),
        node("Flatten", ["pooled"], ["means"]),
    ]
    inputs = [info("image", FLOAT, [batch, 3, "height", "width"])]
    return model(nodes, inputs, [info("means", FLOAT, [batch, 3])])


def tokens() -> onnx.ModelProto:
    """The mean of the vectors of the tokens that a mask keeps."""
    nodes = [
        node("Gather", ["table", "ids"], ["vectors"]),
        node("Cast", ["mask"], ["kept"], to=FLOAT),
        node("Unsqueeze", ["kept", "two"], ["weights"]),
        node("Mul", ["vectors", "weights"], ["weighted"]),
        node("ReduceMean", ["weighted", "one"], ["vector"], keepdims=0),
    ]
    sizes = ["batch", "tokens"]
    return model(
        nodes,
        [info("ids", INT64, sizes), info("mask", INT64, sizes)],
        [info("vector", FLOAT, ["batch", 4])],
        helper.make_tensor("table", FLOAT, [5, 4], range(20)),
        helper.make_tensor("one", INT64, [1], [1]),
        helper.make_tensor("two", INT64, [1], [2]),
    )


def scaled() -> onnx.ModelProto:
    """Rows times a scalar, and another one that has a default."""
    nodes = [node("Mul", ["x", "by"], ["once"]), node("Mul", ["once", "again"], ["y"])]
    x, y = info("x", FLOAT, [None, 2]), info("y", FLOAT, [None, 2])
    optional = [info("by", FLOAT, []), info("again", FLOAT, [])]
    return model(nodes, [x, *optional], [y], helper.make_tensor("again", FLOAT, [], [2.0]))


def strict() -> onnx.ModelProto:
    """An index into a table that refuses what registration generates."""
    nodes = [
        node("Add", ["x", "most"], ["place"]),
        node("Gather", ["table", "place"], ["y"]),
    ]
    return model(
        nodes,
        [info("x", INT64, [None])],
        [info("y", FLOAT, [None])],
        helper.make_tensor("most", INT64, [], [1000]),
        helper.make_tensor("table", FLOAT, [3], [1.0, 2.0, 3.0]),
    )


@pytest.fixture
def register(registry: Registry, tmp_path: Path) -> Callable[..., Version]:
    """Register a model with nothing else, or with the fields of a manifest."""

    def add(proto: onnx.ModelProto, **manifest: Any) -> Version:
        path, stated = tmp_path / "any.onnx", tmp_path / "any.yaml"
        path.write_bytes(proto.SerializeToString())
        stated.write_text(yaml.safe_dump(manifest))
        return registry.register(path, model="any", manifest=stated if manifest else None)

    return add


ONE_BY_ONE = "no batch dimension in common"


@pytest.mark.parametrize(
    ("proto", "why_alone"),
    [
        (identity(None, 3), ""),
        (identity(None, None, None), ""),
        (identity(None, kind=STRING), ""),
        (identity(None, 2, kind=TensorProto.UINT8), ""),
        (image(batch="batch"), ""),
        (tokens(), ""),
        (strict(), ""),
        (image(batch=1), "exactly 1 rows"),
        (identity(), ONE_BY_ONE),
        (scaled(), "input 'by' has shape [], which fixes the number of rows"),
        (softmax(None), "output 'y' for a row"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.graph.node[0].op_type,
)
def test_the_onnx_file_alone_is_sufficient(
    register: Callable[..., Version], proto: onnx.ModelProto, why_alone: str
) -> None:
    version = register(proto)
    verdict = read_verdict(version)
    assert verdict is not None
    reason = one_by_one(version.manifest, verdict)
    assert why_alone in reason
    assert bool(reason) == bool(why_alone)
    assert version.manifest.task == "other"
    assert not has_reference(version)


def test_an_input_with_a_default_need_not_be_sent(register: Callable[..., Version]) -> None:
    version = register(scaled())
    found = version.manifest.signature
    assert found is not None
    assert [spec.name for spec in found.inputs] == ["x", "by"]
    questions = read_inference(Path(version.path)).questions
    assert any("optional_inputs: [again] in the manifest" in one for one in questions)


def test_an_input_with_a_default_can_be_offered(register: Callable[..., Version]) -> None:
    version = register(scaled(), optional_inputs=["again"])
    found = version.manifest.signature
    assert found is not None
    assert [spec.name for spec in found.inputs] == ["x", "by"]
    assert [spec.name for spec in found.optional] == ["again"]
    questions = read_inference(Path(version.path)).questions
    assert not any("optional_inputs" in one for one in questions)
    with pytest.raises(InvalidManifest, match=r"no default for an input 'by'; expected .* 'again'"):
        register(scaled(), optional_inputs=["by"])


def test_an_input_without_a_shape_is_refused_with_the_fix(
    register: Callable[..., Version],
) -> None:
    proto = identity(None)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(InvalidModel, match=r"input 'x' declares no shape: expected .*\[None, 3\]"):
        register(proto)


def test_a_model_that_refuses_generated_rows_is_judged_by_names(
    register: Callable[..., Version],
) -> None:
    verdict = read_verdict(register(strict()))
    assert verdict is not None
    assert not verdict.probed
    assert not verdict.reason


def test_generated_rows_show_whether_rows_are_independent(
    register: Callable[..., Version],
) -> None:
    verdict = read_verdict(register(tokens()))
    assert verdict is not None
    assert verdict.probed


def test_a_version_without_a_reference_reports_it(register: Callable[..., Version]) -> None:
    version = register(identity(None, 3))
    with pytest.raises(InvalidReference, match="version 1 of any was registered without a ref"):
        load_reference(version)


def test_identical_files_are_the_same_version(register: Callable[..., Version]) -> None:
    first = register(identity(None, 3))
    assert register(identity(None, 3)) == first
    assert register(identity(None, 4)).number == "2"


def test_a_classifier_needs_no_reference(registry: Registry, write: Callable[..., Files]) -> None:
    files = write()
    version = registry.register(files["onnx"], model="tiny", manifest=files["manifest"])
    assert version.manifest.prediction.classes == [0, 1]
    assert not has_reference(version)


def test_a_reference_needs_no_target(
    registry: Registry, write: Callable[..., Files], manifest: dict[str, Any]
) -> None:
    del manifest["target"], manifest["held_out"]
    version = registry.register(model="tiny", **write(manifest=manifest))
    assert "bought" not in load_reference(version)
    assert "prediction" in load_reference(version)


def test_the_target_can_be_named_at_registration(
    registry: Registry, write: Callable[..., Files], manifest: dict[str, Any]
) -> None:
    stated = registry.register(model="tiny", **write(manifest=manifest))
    del manifest["target"]
    named = registry.register(model="tiny", target="bought", **write(manifest=manifest))
    assert named == stated
