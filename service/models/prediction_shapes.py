"""Check that a run returns a prediction for every row, because declared shapes can be wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from registry.manifest import Prediction
from service.errors import RunFailed


class PredictionShapes:
    """The outputs that contain a version's prediction, and their numbers of values per row."""

    def __init__(self, prediction: Prediction) -> None:
        classes = len(prediction.classes)
        self._widths = {prediction.label: 1} if prediction.label else {}
        for name in (prediction.probabilities, prediction.scores):
            if name and classes:
                self._widths[name] = classes

    def check(self, outputs: Mapping[str, np.ndarray[Any, Any]], rows: int) -> None:
        """Raise RunFailed if an output does not have the expected values for `rows` rows."""
        for name, width in self._widths.items():
            array = outputs[name]
            if array.size != rows * width:
                expected = [rows] if width == 1 else [rows, width]
                raise RunFailed(
                    f"output {name!r} contains the prediction and has shape {list(array.shape)} "
                    f"for {rows} rows; expected {expected} as the model declares"
                )
