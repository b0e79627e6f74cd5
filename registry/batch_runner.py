"""Run a model offline on many rows: its reference, or logged requests."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from registry.errors import InvalidModel
from registry.features import signature
from registry.manifest import Manifest
from registry.signature import fixed_rows

Array = np.ndarray[Any, Any]


def run_in_batches(
    session: onnxruntime.InferenceSession,
    manifest: Manifest,
    tensors: Mapping[str, Array],
    rows: int,
    *,
    together: bool = True,
) -> dict[str, Array]:
    """Run the model in batches of max_batch_size; return output name -> array of `rows` rows.

    If `together` is False, each row runs separately, unless the batch dimension is fixed.
    Raises InvalidModel if the model fails or returns a wrong number of rows.
    """
    prediction = manifest.prediction
    roles = (prediction.label, prediction.probabilities, prediction.scores)
    names = [name for name in roles if name]
    if not names:
        return {}
    batches: dict[str, list[Array]] = {name: [] for name in names}
    fixed = fixed_rows(signature(manifest))
    size = manifest.max_batch_size if together or fixed is not None else 1
    for start in range(0, rows, size):
        feed = {name: array[start : start + size] for name, array in tensors.items()}
        feed_rows = len(next(iter(feed.values())))
        if fixed is not None:
            feed = {n: np.resize(array, (fixed, *array.shape[1:])) for n, array in feed.items()}
        for name, array in zip(names, _run_batch(session, names, feed, start), strict=True):
            rows_run = fixed or feed_rows
            if array.shape[:1] != (rows_run,) or (
                name == prediction.label and array.size != rows_run
            ):
                raise InvalidModel(
                    f"output {name!r} has shape {list(array.shape)}; expected {rows_run} rows"
                )
            batches[name].append(array[:feed_rows])
    return {name: np.concatenate(arrays) for name, arrays in batches.items()}


def _run_batch(
    session: onnxruntime.InferenceSession, names: list[str], feed: dict[str, Array], start: int
) -> list[Array]:
    try:
        outputs: list[Array] = session.run(names, feed)
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors have no common base class
        raise InvalidModel(f"the model fails on the rows from row {start}: {error}") from None
    return outputs
