"""ONNX bytes -> a session that can run them; everything that makes a file unfit is refused here.

The file is loaded from bytes. Its weights are in it or in model.data of its version's folder: from
other files they would be read from wherever the process happens to stand.
"""

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from registry.errors import InvalidManifest, InvalidModel
from registry.external_data import require_within, use_data, without_data
from registry.stored_files import data_size

_PROVIDER = "ExecutionProvider"
_LOCALE = (
    "; the graph states a locale that this machine lacks: expected a locale of every machine, "
    "StringNormalizer(locale='C.UTF-8')"
)


def load(
    data: bytes, *, threads: int = 0, extensions: bool = False, folder: Path | None = None
) -> onnxruntime.InferenceSession:
    """Return a CPU session over a checked ONNX model; of `threads` threads (0: one for each core).

    With `extensions` it knows the operators of onnxruntime-extensions. `folder` may hold its data.
    Raises InvalidModel for bytes that are not an ONNX model or break its rules, if weights are
    elsewhere, or if ONNX Runtime cannot load it.
    """
    check(parse(data), folder)
    options = onnxruntime.SessionOptions()
    use_data(options, folder)
    if extensions:
        options.register_custom_ops_library(extensions_library())
    options.log_severity_level = 4  # what matters is raised
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # the faults have no common base class
        hint = _LOCALE if "locale" in str(error) else ""
        raise InvalidModel(f"ONNX Runtime cannot load the file: {error}{hint}") from None


def extensions_library() -> str:
    """Return the path of onnxruntime-extensions' library; raises InvalidManifest if absent."""
    try:
        return str(importlib.import_module("onnxruntime_extensions").get_library_path())
    except ModuleNotFoundError:
        raise InvalidManifest(
            "session.extensions: package onnxruntime-extensions is not installed: "
            "pip install 'driftline[extensions]'"
        ) from None


def check_providers(names: Iterable[str]) -> None:
    """Raise InvalidManifest for an execution provider that ONNX Runtime has under no name.

    Whether a worker has it installed is for the worker to say.
    """
    available = [name.removesuffix(_PROVIDER) for name in onnxruntime.get_all_providers()]
    spelt = {name.lower() for name in available}
    for name in names:
        if name.removesuffix(_PROVIDER).lower() not in spelt:
            raise InvalidManifest(
                f"session.providers: ONNX Runtime has no {name!r}; expected some of "
                f"{', '.join(available)}"
            )


def parse(data: bytes) -> onnx.ModelProto:
    """Return the graph of an ONNX file; raises InvalidModel for other bytes."""
    try:
        return onnx.load_model_from_string(data)
    except DecodeError:
        raise InvalidModel(
            f"not an ONNX file: its {len(data)} bytes are not an ONNX model, or truncated"
        ) from None


def check(model: onnx.ModelProto, folder: Path | None = None) -> None:
    """Raise InvalidModel for a model that breaks ONNX's rules or keeps weights elsewhere.

    Weights may be in the data of `folder`.
    """
    outside = [t for t in tensors_of(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    if outside and (folder is None or not data_size(folder)):
        raise InvalidModel(
            f"weights lie outside the ONNX file (tensor {outside[0].name!r} and {len(outside) - 1} "
            "more): register the folder that holds the file with its weights, or embed them with "
            "onnx.save_model(onnx.load(path), path, save_as_external_data=False)"
        )
    for node in model.graph.input:
        if node.type.HasField("tensor_type") and not node.type.tensor_type.HasField("shape"):
            raise InvalidModel(
                f"input {node.name!r} declares no shape: expected a size or None for each of its "
                "dimensions, onnx.helper.make_tensor_value_info(name, type, [None, 3]) say"
            )
    if outside and folder is not None:
        for tensor in outside:
            require_within(tensor, data_size(folder))
        model = onnx.load_model_from_string(model.SerializeToString())
        without_data(model, tensors_of(model))
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise InvalidModel(f"not a valid ONNX model: {str(error).strip()}") from None


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a model, those of subgraphs and functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of a model, those of subgraphs and functions included."""
    yield from inner_nodes(model.graph.node)
    for function in model.functions:
        yield from inner_nodes(function.node)


def inner_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, each followed by those of its subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from inner_nodes(graph.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)
