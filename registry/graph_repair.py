"""Repair ONNX graphs that cannot be served as exported, without changing predictions.

- A ZipMap converts probabilities [N, classes] to a list of dictionaries, which the tensor protocols
  cannot represent. The operator is removed, so that the output is the tensor of probabilities.
- Text operators default to the locale en_US.UTF-8, which containers rarely have. C.UTF-8 replaces
  it, because it converts upper and lower case identically.
- Exporters declare wrong output shapes: LightGBM declares the label as [1] instead of [N], CatBoost
  a regression as [N] instead of [N, 1], PyTorch a fixed number of rows. The declaration is replaced
  with the actual shape, which trial runs show.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import onnx
import onnxruntime

from registry.encoded_files import Files
from registry.generated_rows import generated_answers
from registry.onnx_file import nodes_of
from registry.rows import FREE

_OPSET = 13  # version of Identity if the graph imports no standard operators
_FEW, _MORE = 3, 5  # rows of two trial runs, whose outputs differ in the row dimension
_COMMON_LOCALES = {"", "en_US", "en_US.UTF-8", "en_US.utf8"}
_PORTABLE_LOCALE = "C.UTF-8"


def repair(data: bytes) -> tuple[bytes, list[str]]:
    """Return the repaired file, or `data` if no repair is needed, and a line for each change."""
    model = onnx.load_model_from_string(data)
    changes = [*_remove_zipmaps(model), *_set_locales(model)]
    return (model.SerializeToString() if changes else data), changes


def correct_shapes(
    data: bytes, session: onnxruntime.InferenceSession, files: Files = MappingProxyType({})
) -> tuple[bytes, list[str]]:
    """Correct declared output shapes that differ from the shapes of trial runs.

    Return the corrected file, or `data` if all shapes are right, and a line for each change.
    """
    corrections = dict(_corrections(session, files))
    if not corrections:
        return data, []
    model = onnx.load_model_from_string(data)
    changes = []
    for output in model.graph.output:
        if output.name in corrections:
            declared, answered = corrections[output.name]
            _declare(output, answered)
            changes.append(
                f"output {output.name!r} was declared {_shown(declared)} but has the shape "
                f"{_shown(answered)}"
            )
    return model.SerializeToString(), changes


def _remove_zipmaps(model: onnx.ModelProto) -> list[str]:
    graph, changes = model.graph, []
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        place = next(
            (i for i, output in enumerate(graph.output) if output.name == node.output[0]), None
        )
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
    if changes and all(opset.domain for opset in model.opset_import):  # CatBoost imports none
        model.opset_import.append(onnx.helper.make_opsetid("", _OPSET))
    return changes


def _classes(node: onnx.NodeProto) -> int | None:
    return (
        max(
            (len(attribute.strings) + len(attribute.ints) for attribute in node.attribute),
            default=0,
        )
        or None
    )


def _set_locales(model: onnx.ModelProto) -> Iterator[str]:
    for node in nodes_of(model):
        if node.op_type != "StringNormalizer":
            continue
        attributes = {attribute.name: attribute.s.decode() for attribute in node.attribute}
        locale = attributes.get("locale", "")
        if attributes.get("case_change_action", "NONE") == "NONE" or locale not in _COMMON_LOCALES:
            continue
        other_attributes = [attribute for attribute in node.attribute if attribute.name != "locale"]
        del node.attribute[:]
        node.attribute.extend(
            [*other_attributes, onnx.helper.make_attribute("locale", _PORTABLE_LOCALE)]
        )
        yield (
            f"StringNormalizer uses the locale {_PORTABLE_LOCALE} instead of "
            f"{locale or 'en_US.UTF-8'}, which not every machine has"
        )


def _corrections(
    session: onnxruntime.InferenceSession, files: Files
) -> Iterator[tuple[str, tuple[Sequence[Any], list[int]]]]:
    """Yield name, declared shape and actual shape of each output whose shapes differ."""
    inputs = session.get_inputs()
    if not inputs or any(not node.shape or isinstance(node.shape[0], int) for node in inputs):
        return
    few, more = (_shapes(generated_answers(session, rows, files)) for rows in (_FEW, _MORE))
    fixed = not any(isinstance(size, str | None) for node in inputs for size in node.shape[1:])
    for output in session.get_outputs():
        if output.name not in few.keys() & more.keys():
            continue
        if _fits(output.shape, few[output.name]) and _fits(output.shape, more[output.name]):
            continue
        if (answered := _common(few[output.name], more[output.name], fixed=fixed)) is not None:
            yield output.name, (output.shape, answered)


def _shapes(answers: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in answers.items() if hasattr(array, "shape")}


def _fits(declared: Sequence[Any], answered: tuple[int, ...]) -> bool:
    """Return whether a declared shape allows the actual shape."""
    return len(declared) == len(answered) and all(
        not isinstance(size, int) or size == answered_size
        for size, answered_size in zip(declared, answered, strict=True)
    )


def _common(few: tuple[int, ...], more: tuple[int, ...], *, fixed: bool) -> list[int] | None:
    """Return the common shape of two runs, or None if their ranks differ.

    Sizes that differ between the runs are FREE. Equal sizes after the first are constant only if
    `fixed`, which means that all inputs have constant sizes.
    """
    if len(few) != len(more):
        return None
    return [
        size if size == other and (fixed or place == 0) else FREE
        for place, (size, other) in enumerate(zip(few, more, strict=True))
    ]


def _declare(output: onnx.ValueInfoProto, shape: Iterable[int]) -> None:
    declared = output.type.tensor_type.shape
    del declared.dim[:]
    for size in shape:
        dimension = declared.dim.add()
        if size != FREE:
            dimension.dim_value = size


def _shown(shape: Sequence[Any]) -> str:
    sizes = [
        str(size) if isinstance(size, int) and size != FREE else "N" if not place else "any"
        for place, size in enumerate(shape)
    ]
    return f"[{', '.join(sizes)}]"
