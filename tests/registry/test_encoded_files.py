"""Inputs that the graph decodes as files, and generated files for them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from registry.encoded_files import encode_wav, file_inputs, sample_file
from registry.images import encode_png
from registry.inference_record import read_inference
from registry.onnx_file import load
from registry.store import Registry

FILES = ["com.microsoft.extensions", "ai.onnx.contrib"]


def decoder(op: str, *before: str, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A model that decodes the file after operators that only pass it on."""
    nodes, tensor = [], "file"
    for place, name in enumerate(before):
        nodes.append(helper.make_node(name, [tensor], [f"t{place}"]))
        tensor = f"t{place}"
    domain = FILES[op == "AudioDecoder"]
    nodes.append(helper.make_node(op, [tensor], ["decoded"], domain=domain))
    nodes.append(helper.make_node("Cast", ["decoded"], ["numbers"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("ReduceMean", ["numbers"], ["mean"], keepdims=0))
    inputs = [helper.make_tensor_value_info("file", TensorProto.UINT8, [None])]
    outputs = [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [])]
    graph = helper.make_graph(nodes, "files", inputs, outputs)
    return as_extended(graph)


def as_extended(graph: onnx.GraphProto) -> onnx.ModelProto:
    domains = {"": 18} | dict.fromkeys(FILES, 1)
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return model


@pytest.mark.parametrize(("op", "kind"), [("DecodeImage", "image"), ("AudioDecoder", "audio")])
@pytest.mark.parametrize("before", [(), ("Identity", "Identity")])
def test_a_file_is_followed_to_its_decoder(op: str, kind: str, before: tuple[str, ...]) -> None:
    assert file_inputs(decoder(op, *before).SerializeToString()) == {"file": {kind}}


def test_numeric_inputs_next_to_a_file_are_not_files() -> None:
    model = decoder("DecodeImage")
    scale = helper.make_tensor_value_info("scale", TensorProto.UINT8, [None])
    model.graph.input.append(scale)
    model.graph.node.append(helper.make_node("Identity", ["scale"], ["same"]))
    assert file_inputs(model.SerializeToString()) == {"file": {"image"}}


def test_a_decoder_in_a_subgraph_counts_for_every_file() -> None:
    model = decoder("DecodeImage")
    inner = helper.make_graph(list(model.graph.node), "inner", [], list(model.graph.output))
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    choice = helper.make_node("If", ["flag"], ["mean"], then_branch=inner, else_branch=inner)
    outer = helper.make_graph(
        [choice], "outer", [*model.graph.input, flag], list(model.graph.output)
    )
    assert file_inputs(as_extended(outer).SerializeToString()) == {"file": {"image"}}


@pytest.mark.parametrize("op", ["DecodeImage", "AudioDecoder"])
def test_registration_loads_the_extensions_that_a_graph_needs(registry: Registry, op: str) -> None:
    version = registry.register(decoder(op).SerializeToString(), model="files")
    assert version.manifest.session.extensions
    assert "onnxruntime-extensions" in read_inference(Path(version.path)).reasons["session"]


@pytest.mark.parametrize("op", ["DecodeImage", "AudioDecoder"])
def test_generated_files_are_decoded_and_differ(op: str) -> None:
    model = decoder(op).SerializeToString()
    session = load(model, extensions=True)
    kinds = file_inputs(model)["file"]
    files = [sample_file(kinds, np.random.default_rng(seed)) for seed in range(4)]
    means = {float(session.run(None, {"file": np.frombuffer(one, np.uint8)})[0]) for one in files}
    assert len(means) == 4


def test_encoded_files_are_decoded() -> None:
    pixels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    session = load(decoder("DecodeImage").SerializeToString(), extensions=True)
    (mean,) = session.run(None, {"file": np.frombuffer(encode_png(pixels), np.uint8)})
    assert mean == pixels.mean()
    tone = np.sin(np.arange(1_600) / 5) / 2
    session = load(decoder("AudioDecoder").SerializeToString(), extensions=True)
    (mean,) = session.run(None, {"file": np.frombuffer(encode_wav(tone, 16_000), np.uint8)})
    assert mean == pytest.approx(tone.mean(), abs=1e-3)
