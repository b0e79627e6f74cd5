"""Compare sampled vectors by one of Evidently's methods for embeddings.

Evidently's own limits raise false alarms in most windows: its bootstrap for `mmd` uses the 5th
percentile instead of the 95th. The limit is therefore the greatest distance of random halves of the
reference. These scores raise no alarm. The projections of the same vectors are columns, and these
raise alarms within the calibrated budget.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from msgspec.structs import replace

from monitoring.results import EMBEDDING_DRIFT, Score
from monitoring.scoring.drift.evidently_adapter import embedding_drift
from monitoring.scoring.score_rules import MIN_VALUES, failure_note
from monitoring.significant_digits import significant
from registry.sampled_tensors import vector_column

Array = np.ndarray[Any, Any]
_DRAWS = 20  # number of random splits of the reference


class EmbeddingScorer:
    """Scores the vectors of windows; limits are cached by tensor and number of vectors."""

    def __init__(self, methods: Mapping[str, str], reference: pd.DataFrame) -> None:
        """`methods` is keyed by tensor; `reference` has a column of vectors for each tensor."""
        self._methods = methods
        self._reference = {
            tensor: _stack(reference[name].dropna().tolist())
            for tensor in methods
            if (name := vector_column(tensor)) in reference
        }
        self._limits: dict[tuple[str, int], float] = {}

    def score(
        self, vectors: Mapping[str, Sequence[bytes]], trailing: Mapping[str, Sequence[bytes]]
    ) -> list[Score]:
        """Score each tensor; `trailing` vectors, if any, replace the reference's vectors."""
        return [
            self._score(tensor, _decode(vectors.get(tensor, ())), _decode(trailing.get(tensor, ())))
            for tensor in self._methods
        ]

    def _score(self, tensor: str, current: Array, trailing: Array) -> Score:
        method = self._methods[tensor]
        reference = trailing if len(trailing) else self._reference.get(tensor, trailing)
        about = Score(name=EMBEDDING_DRIFT, column=tensor, value=None, method=method)
        if not len(reference):
            none = "the reference contains no vectors: name the tensor in the manifest and register"
            return replace(
                about, note=f"{none} the version again, or compare with previous windows (trailing)"
            )
        for vectors, owner in ((reference, "the reference"), (current, "the window")):
            if len(vectors) < 2 * MIN_VALUES:
                text = (
                    f"{owner} has {len(vectors)} logged vectors; at least {2 * MIN_VALUES} needed"
                )
                return replace(about, note=text)
        try:
            value = embedding_drift(method, pd.DataFrame(current), pd.DataFrame(reference))
            limit = self._limit(tensor, method, len(current), reference, cached=not len(trailing))
        except Exception as error:  # noqa: BLE001 - the other scores are still computed
            return replace(about, note=failure_note(error))
        note = f"{len(current):,} vectors; the limit is the maximum of {_DRAWS} random halves"
        return replace(
            about, value=significant(value), threshold=limit, breached=value > limit, note=note
        )

    def _limit(
        self, tensor: str, method: str, size: int, reference: Array, *, cached: bool
    ) -> float:
        """Return the greatest distance between two parts of the reference, over random splits.

        One part has `size` vectors, but at most half of the reference.
        """
        if cached and (tensor, size) in self._limits:
            return self._limits[tensor, size]
        random = np.random.default_rng(0)
        size = min(size, len(reference) // 2)
        values = []
        for _ in range(_DRAWS):
            order = random.permutation(len(reference))
            parts = pd.DataFrame(reference[order[:size]]), pd.DataFrame(reference[order[size:]])
            values.append(embedding_drift(method, *parts))
        limit = significant(max(values))
        if cached:
            self._limits[tensor, size] = limit
        return limit


def _decode(bodies: Sequence[bytes]) -> Array:
    return _stack([np.frombuffer(body, "<f4") for body in bodies])


def _stack(vectors: Sequence[Any]) -> Array:
    return np.array([np.asarray(vector, np.float64) for vector in vectors])
