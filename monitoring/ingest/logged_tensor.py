"""Convert rows of a logged tensor to samples that the status page can show."""

from functools import cached_property
from typing import Any

import numpy as np

from eventlog.events import Tensor
from monitoring.samples import Sample, SampleForm
from registry.images import thumbnail
from registry.logged_arrays import logged_numbers
from registry.sampled_tensors import SampledTensor

Array = np.ndarray[Any, Any]

LONGEST_TEXT = 300  # characters
LARGEST_FILE = 512 << 10  # bytes
_MOST_VALUES = 64 << 20  # values of a tensor
_MAGIC = (  # first bytes of the image files that browsers show
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
)


class LoggedTensor:
    """The rows of an event's tensor, decoded on first use."""

    def __init__(self, sampled: SampledTensor, tensor: Tensor, rows: int) -> None:
        """Read the values of the tensor `sampled` from `tensor`, in an event with `rows` rows."""
        self._sampled = sampled
        self._tensor = tensor
        self._rows = rows

    def sample(self, row: int, hash_: int, start: int) -> Sample:
        """Return a row's sample; its form is `none` if the row cannot be shown."""
        try:
            form, body = self._body(row)
        except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
            form, body = "none", f"cannot be shown: {error}"[:LONGEST_TEXT].encode()
        return Sample(self._sampled.name, hash_, start, form, body)

    def _body(self, row: int) -> tuple[SampleForm, bytes]:
        if self._sampled.kind == "text":
            return "text", _text(self._texts[row])
        item = self._items[row]
        if self._sampled.kind == "vector":
            return "vector", _vector(item)
        if self._sampled.kind == "image":
            return "png", thumbnail(item, self._sampled.channels)
        data = item.tobytes()
        if not data.startswith(_MAGIC):
            return "none", b""
        if len(data) > LARGEST_FILE:
            return "none", f"{len(data):,} bytes are too many to be shown".encode()
        return "file", data

    @cached_property
    def _items(self) -> Array:
        array = _array(self._tensor)
        return array.reshape(self._rows, *array.shape[1:]) if self._sampled.batched else array[None]

    @cached_property
    def _texts(self) -> list[list[Any]]:
        values = self._tensor.data
        rows = self._rows if self._sampled.batched else 1
        width = len(values) // rows
        return [values[row * width : (row + 1) * width] for row in range(rows)]


def _array(tensor: Tensor) -> Array:
    """Return a logged tensor as an array; raises ValueError, KeyError or TypeError."""
    array = logged_numbers(tensor)
    if array.size > _MOST_VALUES:
        raise ValueError(f"{array.size:,} values are too many")
    return array


def _vector(item: Array) -> bytes:
    if not np.isfinite(item.astype(np.float64)).all():
        raise ValueError("not every number is finite")
    return item.astype("<f4").tobytes()


def _text(values: list[Any]) -> bytes:
    text = "\n".join(str(value) for value in values)
    shown = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    return shown.encode(errors="replace")
