"""Run a version on the rows of a chunk, with the same session as the service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from driftline.batch.errors import BatchError
from registry.batching import one_by_one, verdict_of
from registry.features import signature
from registry.manifest import Version
from registry.outputs import PROBABILITIES, label_output, probabilities_output
from registry.signature import fixed_rows
from registry.stored_files import require_unchanged
from service.errors import ServingError, ValuesRefused
from service.models.loader import session_options
from service.sessions.session import Session
from service.settings import Settings

Array = np.ndarray[Any, Any]
_MOST_ROWS = 16_384  # maximum number of rows per run


class BatchModel:
    """A version's session; `run` may be called from several threads."""

    def __init__(self, version: Version, settings: Settings) -> None:
        """Raise NotReady, ChangedFile, or BatchError for an input without features."""
        manifest = version.manifest
        require_unchanged(version)
        with_features = {feature.input for feature in manifest.features}
        without = [
            spec.name for spec in signature(manifest).inputs if spec.name not in with_features
        ]
        if without:
            raise BatchError(
                f"input {without[0]!r} of version {version.number} of {version.model} has no "
                "features, so no columns of a file belong to it; expected features for every input"
            )
        folder = Path(version.path)
        options = session_options(manifest.session, settings)
        self._session = Session((folder / "model.onnx").read_bytes(), options, folder)
        single_rows = one_by_one(manifest, verdict_of(version, self._session.runnable()))
        self._fixed = fixed_rows(signature(manifest))
        self._rows = self._fixed or (1 if single_rows else _MOST_ROWS)
        prediction = manifest.prediction
        self._needed = {prediction.scores} if prediction.scores else {
            label_output(prediction), probabilities_output(prediction)
        } - {"", PROBABILITIES}  # fmt: skip

    def run(self, tensors: Mapping[str, Array], rows: int) -> tuple[dict[str, Array], Array, str]:
        """Return the outputs, the rows that have outputs, and why the other rows have none.

        If a run fails, its rows are run again in two halves, until each failing row is found.
        """
        results: list[dict[str, Array]] = []
        sound: list[int] = []
        reason = ""
        waiting = [(at, min(at + self._rows, rows)) for at in range(0, rows, self._rows)][::-1]
        while waiting:
            start, end = waiting.pop()
            try:
                results.append(
                    self._run({n: t[start:end] for n, t in tensors.items()}, end - start)
                )
                sound += range(start, end)
            except ServingError as error:
                middle = (start + end) // 2
                if end - start > 1:
                    waiting += [(middle, end), (start, middle)]
                else:
                    detail = error.detail if isinstance(error, ValuesRefused) else str(error)
                    reason = f"the model fails on this row: {' '.join(detail.split())[:200]}"
        places = np.array(sound, dtype=np.int64)
        if not results:
            return {}, places, reason
        joined = results[0]
        if len(results) > 1:
            joined = {n: np.concatenate([part[n] for part in results]) for n in results[0]}
        return joined, places, reason

    def _run(self, tensors: Mapping[str, Array], rows: int) -> dict[str, Array]:
        if self._fixed is not None and rows < self._fixed:
            fixed = self._fixed
            tensors = {n: np.resize(t, (fixed, *t.shape[1:])) for n, t in tensors.items()}
        outputs = self._session.run(tensors)
        expected = self._fixed or rows
        for name in self._needed:
            if outputs[name].shape[:1] != (expected,):
                raise BatchError(
                    f"output {name!r} has shape {list(outputs[name].shape)} for {expected} rows; "
                    "expected one output row for each input row"
                )
        by_row = {n: a for n, a in outputs.items() if a.shape[:1] == (expected,)}
        return {n: a[:rows] for n, a in by_row.items()}
