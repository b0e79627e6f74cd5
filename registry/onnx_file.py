"""Check and load ONNX models; every model that cannot be served is refused.

The model is loaded from bytes. Its weights are in these bytes, or in model.data in the folder of
its version. Other files would be looked up in the current folder of the process.
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
    """Check an ONNX model and return a CPU session with `threads` threads (0: one per core).

    If `extensions`, the session has the operators of onnxruntime-extensions. `folder` can contain
    the model's external data. Raises InvalidModel if the bytes are not a valid ONNX model, if
    weights are in other files, or if ONNX Runtime cannot load the model.
    """
    check(parse(data), folder)
    options = onnxruntime.SessionOptions()
    use_data(options, folder)
    if extensions:
        options.register_custom_ops_library(extensions_library())
    options.log_severity_level = 4  # only fatal errors; other errors are raised
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # the faults have no common base class
        hint = _LOCALE if "locale" in str(error) else ""
        raise InvalidModel(f"ONNX Runtime cannot load the file: {error}{hint}") from None


def extensions_library() -> str:
    """Return the library of onnxruntime-extensions; raises InvalidManifest if not installed."""
    try:
        return str(importlib.import_module("onnxruntime_extensions").get_library_path())
    except ModuleNotFoundError:
        raise InvalidManifest(
            "session.extensions: package onnxruntime-extensions is not installed: "
            "pip install 'driftline[extensions]'"
        ) from None


def check_providers(names: Iterable[str]) -> None:
    """Raise InvalidManifest for an execution provider that ONNX Runtime does not know.

    The worker checks whether the provider is installed.
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
            f"not an ONNX file: its {len(data)} bytes are not an ONNX model, or are truncated"
        ) from None


def check(model: onnx.ModelProto, folder: Path | None = None) -> None:
    """Raise InvalidModel if a model breaks ONNX's rules or has weights in other files.

    Weights can be in the external data of `folder`.
    """
    outside = [t for t in tensors_of(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    if outside and (folder is None or not data_size(folder)):
        raise InvalidModel(
            f"weights are outside the ONNX file (tensor {outside[0].name!r} and {len(outside) - 1} "
            "more): register the folder with the file and its weights, or embed the weights with "
            "onnx.save_model(onnx.load(path), path, save_as_external_data=False)"
        )
    for node in model.graph.input:
        if node.type.HasField("tensor_type") and not node.type.tensor_type.HasField("shape"):
            raise InvalidModel(
                f"input {node.name!r} declares no shape: expected a size or None for each "
                "dimension, such as onnx.helper.make_tensor_value_info(name, type, [None, 3])"
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
    """Yield every tensor of a model, including tensors of subgraphs and functions."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of a model, including nodes of subgraphs and functions."""
    yield from inner_nodes(model.graph.node)
    for function in model.functions:
        yield from inner_nodes(function.node)


def inner_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, each followed by the nodes of its subgraphs."""
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
