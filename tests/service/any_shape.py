"""Models of any shape in an in-process worker, compared with ONNX Runtime."""

from math import inf
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from registry.batching import Verdict, write_verdict
from registry.datatypes import of_array
from registry.encoded_files import EXTENSION_DOMAINS
from registry.history.lifecycle import DesiredState
from registry.manifest import Manifest, Version
from registry.onnx_file import load
from registry.signature import read_signature
from registry.store import ModelState
from registry.validation import complete
from service.call import InferenceResponse
from service.call_factory import CallFactory
from service.models.loaded_models import LoadedModels
from service.models.loader import VersionLoader
from service.pipeline import Pipeline
from service.prediction_log import IdGenerator, PredictionLog
from service.protocol import binary, json, protobuf
from service.protocol import open_inference_pb2 as pb
from service.protocol.raw import write_raw
from service.settings import Settings
from service.telemetry.statistics import Statistics
from tests.service.in_process import MemoryLog
from tests.tiny_model import as_model

Array = np.ndarray[Any, Any]
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
node, info = helper.make_node, helper.make_tensor_value_info


def graph_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    *constants: onnx.TensorProto,
) -> onnx.GraphProto:
    return helper.make_graph(nodes, "case", inputs, outputs, list(constants))


def image() -> onnx.GraphProto:
    """The mean of each channel of an image of any size."""
    nodes = [
        node("GlobalAveragePool", ["pixels"], ["pooled"]),
        node("Flatten", ["pooled"], ["means"]),
    ]
    shape = ["batch", 3, "height", "width"]
    inputs = [info("pixels", FLOAT, shape)]
    return graph_of(nodes, inputs, [info("means", FLOAT, ["batch", 3])])


def identity(*shape: Any, kind: int = FLOAT) -> onnx.GraphProto:
    nodes = [node("Identity", ["x"], ["y"])]
    return graph_of(nodes, [info("x", kind, shape)], [info("y", kind, shape)])


class OneVersion:
    """A registry of one version, which is stored without the trial runs of registration."""

    def __init__(self) -> None:
        self.found: list[Version] = []

    def models(self) -> list[str]:
        return ["any"]

    def state(self, _model: str) -> ModelState:
        return ModelState(self.found, DesiredState({"champion": "1"}, set(), {}), {})

    def changed(self, _since: int) -> set[str]:
        return {"any"}

    def revision(self) -> int:
        return len(self.found)


class AnyShapeBench:
    """A version of any shape, and the inside of a worker that serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = OneVersion()
        ids = IdGenerator("p")
        self.log = MemoryLog()
        log = PredictionLog(self.log, ids)
        self.models = LoadedModels(self.registry, VersionLoader(Settings(), log, ids, Statistics()))
        self.pipeline = Pipeline(self.models, log)
        self.new_call = CallFactory(inf)
        self.session: Any = None

    async def serve(self, graph: onnx.GraphProto, **manifest: Any) -> Version:
        """Load a version of a graph, whose rows are independent, as registration completes it."""
        stated = msgspec.convert(manifest, Manifest)
        proto = as_model(graph)
        if stated.session.extensions:
            proto.opset_import.extend(helper.make_opsetid(one, 1) for one in EXTENSION_DOMAINS)
        model = proto.SerializeToString()
        (self.folder / "model.onnx").write_bytes(model)
        write_verdict(self.folder, Verdict())
        self.session = load(model, extensions=stated.session.extensions)
        version = Version(
            model="any",
            number="1",
            digest="d",
            created=0,
            manifest=complete(
                stated, read_signature(self.session, stated.optional_inputs), labelled=False
            ),
            path=str(self.folder),
        )
        self.registry.found = [version]
        await self.models.refresh()
        return version

    def expected(self, **inputs: Array) -> dict[str, Array]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs), strict=True))

    async def infer(self, decode: Any, seconds: float | None = None) -> InferenceResponse:
        call = self.new_call("rest", "any", "")
        if seconds is not None:
            call.deadline = seconds
        return await self.pipeline.infer(call, decode)

    async def as_json(self, outputs: list[str] | None = None, **inputs: Array) -> InferenceResponse:
        tensors = [
            {"name": n, "datatype": of_array(a), "shape": a.shape, "data": a.ravel().tolist()}
            for n, a in inputs.items()
        ]
        wanted = {"outputs": [{"name": name} for name in outputs]} if outputs else {}
        body = json.encode({"inputs": tensors} | wanted)
        return await self.infer(lambda _: json.decode_request(body))

    async def as_binary(self, **inputs: Array) -> InferenceResponse:
        parts = [write_raw(of_array(array), array) for array in inputs.values()]
        tensors = [
            {"name": name, "datatype": of_array(array), "shape": array.shape,
             "parameters": {"binary_data_size": len(part)}}
            for (name, array), part in zip(inputs.items(), parts, strict=True)
        ]  # fmt: skip
        head = json.encode({"inputs": tensors})
        body, size = b"".join([head, *parts]), str(len(head)).encode()
        return await self.infer(lambda _: binary.decode_request(body, size))

    async def as_grpc(self, **inputs: Array) -> InferenceResponse:
        message = pb.ModelInferRequest()
        for name, array in inputs.items():
            message.inputs.add(name=name, datatype=of_array(array), shape=array.shape)
            message.raw_input_contents.append(write_raw(of_array(array), array))
        return await self.infer(lambda _: protobuf.decode_request(message))

    async def check(self, **inputs: Array) -> InferenceResponse:
        """Require the very bits of ONNX Runtime over every encoding; return the last answer."""
        expected = self.expected(**inputs)
        answers = [
            await self.as_json(**inputs), await self.as_binary(**inputs),
            await self.as_grpc(**inputs),
        ]  # fmt: skip
        for answer in answers:
            found = {name: same_bits(answer.run.outputs[name]) for name in answer.output_names()}
            assert found == {name: same_bits(array) for name, array in expected.items()}
        return answers[-1]


def same_bits(array: Array) -> tuple[Any, ...]:
    values = array.tolist() if array.dtype == object else array.tobytes()
    return (array.dtype, array.shape, values)
