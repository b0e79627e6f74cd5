"""Re-run a registered version on logged rows; no other file of the monitor runs models.

The model runs in one thread, with the batch size of the manifest. Equal rows therefore get equal
predictions, whichever process scores a window.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from monitoring.counters.plain_values import category
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import Array
from registry.batch_runner import run_in_batches
from registry.batching import runnable, verdict_of
from registry.errors import InvalidFeatures, InvalidModel
from registry.feature_tensors import to_tensors
from registry.features import signature
from registry.manifest import Manifest
from registry.onnx_file import load
from registry.outputs import label_output, probabilities_output
from registry.payload import withheld
from registry.scores import derive
from registry.stored_files import data_size

Columns = Mapping[str, Sequence[Any] | Array]  # feature -> one value per row

_LARGEST = 512 * 2**20  # maximum bytes of a model file, so that the monitor has enough memory
_SMALL = 16 * 2**20  # bytes of a model file up to which all rows of the policy are run
_FEWEST = 50  # minimum rows to run, however large the model
_SESSIONS = 8  # maximum cached sessions


class RerunPredictions(msgspec.Struct, frozen=True):
    """Predictions of the registered version for some rows."""

    values: list[Any]  # predicted classes as text, or predicted numbers
    probabilities: Mapping[str, Array] = {}  # class as text -> probability of each row
    score: Array | None = None  # positive class's probability, or predicted numbers


class ModelRerun:
    """Runs one version on logged rows."""

    def __init__(self, baseline: Baseline) -> None:
        """Set the version; nothing is loaded before the first run."""
        self._baseline = baseline
        self._manifest: Manifest = baseline.manifest
        self._file = Path(baseline.version.path) / "model.onnx"

    @property
    def possible(self) -> bool:
        """Whether the version has a prediction, and its features fill all of its inputs."""
        filled = {feature.input for feature in self._manifest.features}
        inputs = {spec.name for spec in signature(self._manifest).accepted}
        return bool(label_output(self._manifest.prediction)) and inputs <= filled

    @property
    def reason(self) -> str:
        """The reason why the version cannot be re-run, or "" if it can."""
        if not self._manifest.monitoring.rerun.rows:
            return "not run again: monitoring.rerun.rows is 0"
        if hidden := withheld(self._manifest):
            name, why = next(iter(hidden.items()))
            return f"not run again: {name} is {why.removeprefix('not scored: ')}"
        if (size := self._size) > _LARGEST:
            return f"not run again: the model has {size / 2**20:,.0f} MB, at most 512 are loaded"
        return ""

    @property
    def _size(self) -> int:
        return self._file.stat().st_size + data_size(self._file.parent)

    @property
    def dependence(self) -> str:
        """The reason why re-run rows differ from served requests, or "" if they do not.

        A window's rows come from many requests, and the requests are not known. If the rows of one
        run influence each other's predictions, the logged predictions cannot be reproduced.
        """
        session = _session(
            str(self._file), self._baseline.version.digest, self._manifest.session.extensions
        )
        verdict = verdict_of(self._baseline.version, runnable(session))
        reason = verdict.against_answers(self._manifest)
        return reason and f"not run again: rows of one request influence each other: {reason}"

    @property
    def rows(self) -> int:
        """The number of rows to run: the policy's number, or fewer if the model is large.

        Large models are slow, and the windows of other models wait. The limit follows from the
        model's size instead of its run time, so that it is the same in every process.
        """
        most, size = self._manifest.monitoring.rerun.rows, self._size
        return min(most, max(_FEWEST, most * _SMALL // max(size, 1)))

    def fitting(self, columns: Columns, rows: int) -> Array:
        """Return a mask of the rows that fit the model's inputs."""
        if self._fits(columns):
            return np.ones(rows, dtype=bool)
        single_rows = (
            {name: values[row : row + 1] for name, values in columns.items()} for row in range(rows)
        )
        return np.array([self._fits(single_row) for single_row in single_rows], dtype=bool)

    def predict(self, columns: Columns, rows: int) -> tuple[RerunPredictions, Array]:
        """Return predictions, and a mask of the rows on which the model did not fail.

        Rows on which the model failed have no prediction.

        Raises:
            InvalidModel: the model file cannot be loaded.
            InvalidFeatures: a row does not fit the model's inputs; call `fitting` first.
        """
        session = _session(
            str(self._file), self._baseline.version.digest, self._manifest.session.extensions
        )
        tensors = to_tensors(self._manifest, columns)
        sound = np.zeros(rows, dtype=bool)
        outputs: list[dict[str, Array]] = []
        ranges = [(0, rows)]  # a range on which the model fails is halved, down to single rows
        while ranges:
            start, end = ranges.pop()
            part = {name: tensor[start:end] for name, tensor in tensors.items()}
            try:
                outputs.append(run_in_batches(session, self._manifest, part, end - start))
                sound[start:end] = True
            except InvalidModel:
                middle = (start + end) // 2
                if end - start > 1:
                    ranges += [(middle, end), (start, middle)]
        return self._read(outputs), sound

    def _fits(self, columns: Columns) -> bool:
        try:
            to_tensors(self._manifest, columns)
        except InvalidFeatures:
            return False
        return True

    def _read(self, outputs: Sequence[Mapping[str, Array]]) -> RerunPredictions:
        prediction = self._manifest.prediction
        if prediction.scores:
            outputs = [derive(prediction, part[prediction.scores]) for part in outputs]
        label, chances = label_output(prediction), probabilities_output(prediction)
        values = [value for part in outputs for value in part[label].ravel().tolist()]
        if self._manifest.task == "regression":
            numbers = np.array(values, dtype=float)
            return RerunPredictions(values, score=numbers)
        names = [category(value) for value in values]
        if not chances:
            return RerunPredictions(names)
        parts = [part[chances].astype(float) for part in outputs]
        table = np.concatenate(parts) if parts else np.empty((0, len(prediction.classes)))
        by_class = {
            category(class_name): table[:, at] for at, class_name in enumerate(prediction.classes)
        }
        positive = None if prediction.positive is None else by_class[category(prediction.positive)]
        return RerunPredictions(names, by_class, positive)


@lru_cache(maxsize=_SESSIONS)
def _session(file: str, _digest: str, extensions: bool) -> Any:  # noqa: FBT001  # part of the cache key
    return load(Path(file).read_bytes(), threads=1, extensions=extensions, folder=Path(file).parent)
