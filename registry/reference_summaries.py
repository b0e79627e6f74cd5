"""Compute the summaries of reference rows in the same way as for requests."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime

from registry.errors import InvalidModel
from registry.features import signature
from registry.manifest import Manifest
from registry.rows import FREE, batch_dimension
from registry.summaries import Summarizer

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, Array]


def summarize_rows(
    session: onnxruntime.InferenceSession,
    manifest: Manifest,
    tensors: Tensors,
    rows: int,
    *,
    together: bool,
) -> dict[str, Array]:
    """Return summary -> one number per row, or NaN for a row without value.

    Raises InvalidModel if the model fails on a row.
    """
    summarizer = Summarizer(manifest)
    columns: dict[str, list[float | None]] = {
        summary.name: [] for summary in manifest.summaries or []
    }
    names = [output.name for output in session.get_outputs()]
    for start, feed, size, real_rows in _feeds(manifest, tensors, rows, together=together):
        try:
            outputs = dict(zip(names, session.run(names, dict(feed)), strict=True))
        except Exception as error:  # noqa: BLE001  # each fault has its own class
            raise InvalidModel(f"the model fails on reference row {start}: {error}") from None
        summarized = summarizer.summarize({**outputs, **feed}, size)
        for name, column in columns.items():
            column.extend(summarized.get(name, [None] * size)[:real_rows])
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}


def _feeds(
    manifest: Manifest, tensors: Tensors, rows: int, *, together: bool
) -> Iterator[tuple[int, Tensors, int, int]]:
    """Yield for each run: first row, inputs, number of rows, and number of rows without padding."""
    batch = batch_dimension(signature(manifest))
    if batch is None:
        for row in range(rows):
            yield row, {name: array[row] for name, array in tensors.items()}, 1, 1
        return
    size = batch if batch != FREE else manifest.max_batch_size if together else 1
    for start in range(0, rows, size):
        feed = {name: array[start : start + size] for name, array in tensors.items()}
        real_rows = min(size, rows - start)
        if batch != FREE:
            feed = {n: np.resize(array, (size, *array.shape[1:])) for n, array in feed.items()}
        yield start, feed, size if batch != FREE else real_rows, real_rows
