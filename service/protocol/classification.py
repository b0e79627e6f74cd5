"""The classification extension, which returns the k best classes of an output. Pure.

Each class is a text "score:index" or "score:index:label". The best class is first; classes with
equal scores are ordered by index. The event contains the original scores.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from registry.features import signature
from registry.manifest import Manifest
from registry.outputs import LABEL, LABELS
from service.errors import InvalidRequest
from service.protocol.messages import Array

_MOST = 10_000  # maximum number of classes per row


def check_classes(classes: Mapping[str, int], manifest: Manifest) -> None:
    """Raise InvalidRequest if classes are requested for an output without scores."""
    datatypes = {spec.name: spec.datatype for spec in signature(manifest).outputs}
    for name, count in classes.items():
        if not 0 < count <= _MOST:
            raise InvalidRequest(
                f"output {name!r}: parameter classification is {count}; expected 1 to {_MOST}"
            )
        datatype = datatypes.get(name, "")
        if name in {LABEL, LABELS} or datatype in {"BYTES", "BOOL"}:
            raise InvalidRequest(
                f"output {name!r} contains {datatype or 'labels'}; expected an output of numbers, "
                "from which the best classes can be chosen"
            )


def best_classes(scores: Array, count: int, labels: list[str]) -> Array:
    """Return strings of shape [rows, at most count] from scores of shape [rows, ...].

    NaN ranks last.
    """
    rows = scores.reshape(scores.shape[0], -1) if scores.ndim else scores.reshape(1, 1)
    # Sort reversed rows ascending and reverse the result, so that equal scores keep their order.
    order = rows.shape[1] - 1 - np.argsort(_nan_last(rows)[:, ::-1], axis=1, kind="stable")[:, ::-1]
    best = [
        [_class_text(row[index], int(index), labels) for index in chosen[:count]]
        for row, chosen in zip(rows, order, strict=True)
    ]
    return np.array(best, dtype=np.object_).reshape(len(rows), -1)


def _nan_last(rows: Array) -> Array:
    return np.where(np.isnan(rows), -np.inf, rows) if rows.dtype.kind == "f" else rows


def _class_text(score: Any, index: int, labels: list[str]) -> str:
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{score!s}:{index}{label}"
