"""Derive labels and probabilities from the raw scores of a model. Pure NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eventlog.events import Label
from registry.manifest import Prediction
from registry.outputs import LABEL, LABELS, PROBABILITIES

Array = np.ndarray[Any, Any]


def derive(prediction: Prediction, scores: Array) -> dict[str, Array]:
    """Return the outputs derived from scores [N, classes], or {} for other shapes.

    The probabilities of a row with NaN are NaN.
    """
    if scores.ndim != 2 or scores.shape[1] != len(prediction.classes):
        return {}
    numbers = scores.astype(np.float64)
    best = np.where(np.isnan(numbers), -np.inf, numbers).argmax(axis=1)
    outputs = {LABEL: _classes(prediction)[best]}
    with np.errstate(invalid="ignore"):
        shares = probabilities(prediction, numbers)
    if shares is not None:
        outputs[PROBABILITIES] = shares
        if prediction.activation == "sigmoid":
            outputs[LABELS] = shares >= 0.5
    return outputs


def probabilities(prediction: Prediction, scores: Array) -> Array | None:
    """Return one probability for each row and class [N, classes], or None without an activation.

    With softmax, each row sums to 1. With sigmoid, each class is a separate label.
    """
    values = scores.astype(np.float64)
    if prediction.activation == "none":
        return None
    if prediction.activation == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-values)))
    shifted = np.exp(values - values.max(axis=1, keepdims=True))  # at most 1, so no overflow
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def labels(prediction: Prediction, scores: Array) -> Sequence[Label]:
    """Return the class with the highest score in each row; for ties, the first class."""
    return [prediction.classes[place] for place in scores.argmax(axis=1).tolist()]


def _classes(prediction: Prediction) -> Array:
    """Return the classes as an array with a datatype of the Open Inference Protocol."""
    kinds = {type(class_) for class_ in prediction.classes}
    if kinds <= {str}:
        return np.array(prediction.classes, dtype=np.object_)
    if kinds <= {bool}:
        return np.array(prediction.classes, dtype=np.bool_)
    if kinds <= {int}:
        return np.array(prediction.classes, dtype=np.int64)
    if kinds <= {int, float}:
        return np.array(prediction.classes, dtype=np.float64)
    return np.array([str(class_) for class_ in prediction.classes], dtype=np.object_)
