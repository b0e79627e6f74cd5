"""Derive the label and the probabilities of a model that answers raw scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eventlog.events import Label
from registry.manifest import Prediction

Array = np.ndarray[Any, Any]


def probabilities(prediction: Prediction, scores: Array) -> Array | None:
    """Return one probability for each row and class [N, classes]; None without an activation.

    softmax: they sum to 1 in each row; sigmoid: each class is a label of its own.
    """
    values = scores.astype(np.float64)
    if prediction.activation == "none":
        return None
    if prediction.activation == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-values)))
    shifted = np.exp(values - values.max(axis=1, keepdims=True))  # of at most 1: no overflow
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def labels(prediction: Prediction, scores: Array) -> Sequence[Label]:
    """Return the class with the highest score of each row, the first of equal ones."""
    return [prediction.classes[place] for place in scores.argmax(axis=1).tolist()]
