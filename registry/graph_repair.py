"""Change an ONNX graph where its exporter wrote what cannot be served, but means what can.

- A ZipMap turns probabilities [N, classes] into a list of dictionaries, which no tensor protocol
  carries: the operator is removed, and its output is the tensor that it took.
- LightGBM's converter declares the label [1] although the model answers [N]: the declaration is
  corrected if runs of several rows answer as many.
"""

from typing import Any

import onnx
import onnxruntime

from registry.generated_rows import generated_answers

_ROWS = 3


def repair(data: bytes) -> tuple[bytes, list[str]]:
    """Return the file to serve, and what was changed; the same bytes if nothing was."""
    model = onnx.load_model_from_string(data)
    changes = [*_remove_zipmaps(model)]
    if changes:
        data = model.SerializeToString()
    freed = _free_declared_rows(model, data)
    return (model.SerializeToString() if freed else data), [*changes, *freed]


def _remove_zipmaps(model: onnx.ModelProto) -> list[str]:
    graph, changes = model.graph, []
    for node in [one for one in graph.node if one.op_type == "ZipMap"]:
        place = next((i for i, one in enumerate(graph.output) if one.name == node.output[0]), None)
        if place is None:
            continue
        kind = onnx.TensorProto.FLOAT
        graph.output[place].CopyFrom(
            onnx.helper.make_tensor_value_info(node.output[0], kind, [None, _classes(node)])
        )
        index = list(graph.node).index(node)
        same = onnx.helper.make_node("Identity", list(node.input), list(node.output))
        graph.node.remove(node)
        graph.node.insert(index, same)
        changes.append(f"ZipMap removed: output {node.output[0]!r} is a tensor [N, classes]")
    return changes


def _classes(node: onnx.NodeProto) -> int | None:
    return max((len(one.strings) + len(one.ints) for one in node.attribute), default=0) or None


def _free_declared_rows(model: onnx.ModelProto, data: bytes) -> list[str]:
    """Correct outputs that declare one row where the inputs leave their number free."""
    declared = [
        output
        for output in model.graph.output
        if (dims := output.type.tensor_type.shape.dim) and dims[0].dim_value == 1
    ]
    if not declared:
        return []
    answers = _answers(data)
    wrong = [one for one in declared if answers.get(one.name, ())[:1] == (_ROWS,)]
    for output in wrong:
        output.type.tensor_type.shape.dim[0].Clear()
    return [f"output {one.name!r} was declared [1, ...] and answers [N, ...]" for one in wrong]


def _answers(data: bytes) -> dict[str, Any]:
    """Return the shapes of the outputs for some generated rows; nothing if there are none."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001  # validation reports it
        return {}
    if any(not one.shape or isinstance(one.shape[0], int) for one in session.get_inputs()):
        return {}
    answers = generated_answers(session, _ROWS)
    return {name: getattr(output, "shape", ()) for name, output in answers.items()}
