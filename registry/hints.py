"""Names of columns and classes in an ONNX file's metadata and operators."""

import json
from collections.abc import Iterator, Mapping

import onnx

from eventlog.events import Label
from registry.inference import Hints

COLUMNS, CLASSES = "feature_names", "class_names"  # metadata keys: JSON lists
_LABELS = {"classlabels_strings", "classlabels_int64s", "classlabels_ints"}


def read_hints(model: onnx.ModelProto) -> Hints:
    """Read column names from metadata, and classes from metadata or else from operators."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    columns = [str(name) for name in _listed(metadata, COLUMNS)]
    return Hints(columns, _listed(metadata, CLASSES) or _labels(model))


def _listed(metadata: Mapping[str, str], key: str) -> list[Label]:
    try:
        values = json.loads(metadata.get(key, "[]"))
    except ValueError:
        return []
    return values if isinstance(values, list) else []


def _labels(model: onnx.ModelProto) -> list[Label]:
    """Return the classes if all classifiers in the graph have the same classes, else []."""
    label_lists = {tuple(labels) for labels in _operator_labels(model.graph)}
    return list(label_lists.pop()) if len(label_lists) == 1 else []


def _operator_labels(graph: onnx.GraphProto) -> Iterator[list[Label]]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in _LABELS and node.domain == "ai.onnx.ml":
                labels: list[Label] = [text.decode() for text in attribute.strings]
                labels += list(attribute.ints)
                if labels:
                    yield labels
