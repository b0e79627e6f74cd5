"""Run a version on logged requests, with the functions of the replay gate."""

import time
from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd

from driftline.gates.context import NotEnoughData
from driftline.gates.logged_rows import features_of
from driftline.gates.paired_rows import predict_rows
from driftline.shadows.answer import Answer
from eventlog.events import PredictionEvent, Tensor
from monitoring.counters.plain_values import category
from monitoring.scoring.parity.rerun import RerunPredictions
from registry.errors import RegistryError
from registry.manifest import Version
from registry.outputs import label_output, probabilities_output

Array = np.ndarray[Any, Any]


class ShadowRun:
    """A shadow's version, run on logged requests."""

    def __init__(self, version: Version) -> None:
        self._version = version
        prediction = version.manifest.prediction
        self._label, self._chances = label_output(prediction), probabilities_output(prediction)
        self._classes = {category(class_): class_ for class_ in prediction.classes}
        self._names = [feature.name for feature in version.manifest.features]

    def answer(self, events: Sequence[PredictionEvent]) -> tuple[list[Answer], int]:
        """Return an answer for each request with all features, and the number of other requests.

        Raises NotEnoughData if the version cannot run at all.
        """
        fitting, columns = self._columns(events)
        if not fitting:
            return [], len(events)
        began = time.perf_counter()
        predictions, sound = self._predict(pd.DataFrame(columns))
        each = (time.perf_counter() - began) * 1e6 / max(len(sound), 1)
        answers: list[Answer] = []
        at = before = 0
        for event in fitting:
            own = sound[at : at + event.rows]
            good = int(own.sum())
            part = slice(before, before + good)
            agreed = self._agreed(event, own, predictions, part)
            outputs = self._outputs(predictions, part) if good else {}
            run_us = round(each * event.rows)
            answers.append(Answer(event, outputs, event.rows - good, agreed, run_us))
            at, before = at + event.rows, before + good
        return answers, len(events) - len(fitting)

    def _columns(
        self, events: Sequence[PredictionEvent]
    ) -> tuple[list[PredictionEvent], dict[str, list[Any]]]:
        fitting: list[PredictionEvent] = []
        columns: dict[str, list[Any]] = {name: [] for name in self._names}
        for event in events:
            features = features_of(event, {"candidate": self._version.manifest})
            if features is None or any(len(v) != event.rows for v in features.values()):
                continue
            fitting.append(event)
            for name in self._names:
                columns[name] += features[name]
        return fitting, columns

    def _predict(self, frame: pd.DataFrame) -> tuple[RerunPredictions, Array]:
        try:
            return predict_rows(self._version, frame)
        except RegistryError as error:
            raise NotEnoughData(str(error)) from None

    def _outputs(self, predictions: RerunPredictions, part: slice) -> dict[str, Tensor]:
        values = predictions.values[part]
        outputs = {self._label: self._labels(values)}
        if predictions.probabilities and self._chances:
            table = np.stack(
                [probability[part] for probability in predictions.probabilities.values()], axis=1
            )
            outputs[self._chances] = Tensor("FP64", list(table.shape), table.ravel().tolist())
        return outputs

    def _labels(self, values: list[Any]) -> Tensor:
        if self._version.manifest.task == "regression":
            return Tensor("FP64", [len(values)], [float(value) for value in values])
        labels = [self._classes.get(value, value) for value in values]
        kinds = {type(label) for label in labels}
        datatypes: dict[type, str] = {bool: "BOOL", int: "INT64", float: "FP64"}
        datatype = datatypes.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"
        data = labels if datatype != "BYTES" else [str(label) for label in labels]
        return Tensor(datatype, [len(values)], data)

    def _agreed(
        self, event: PredictionEvent, sound: Array, predictions: RerunPredictions, part: slice
    ) -> int:
        """Return the number of rows with the same class from both versions; 0 for regressions."""
        logged = event.outputs.get(self._label)
        if logged is None or self._version.manifest.task == "regression":
            return 0
        answered = [category(label) for label in compress(logged.values(), sound.tolist())]
        return sum(a == b for a, b in zip(answered, predictions.values[part], strict=False))
