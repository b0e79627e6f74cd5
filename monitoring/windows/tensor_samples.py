"""Sample rows of each window's tensors: the rows with the smallest hashes. Pure.

Only rows whose payload was logged can be sampled.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from monitoring.results import Window
from monitoring.windows.row_sample import RowSample


class TensorEviction(msgspec.Struct, frozen=True):
    """An instruction to delete a window's sampled rows of a tensor whose hash exceeds `largest`."""

    tensor: str
    window: Window
    largest: int


class TensorSamples:
    """The sampled hashes of one version's open windows, by tensor."""

    def __init__(
        self,
        sizes: Callable[[int], Mapping[str, int]],
        sampled_hashes: Callable[[Window, str], Iterable[int]],
    ) -> None:
        """`sizes(start)` returns each tensor's sample size in a window that begins at `start`.

        `sampled_hashes(window, tensor)` reads the hashes of a stored sample.
        """
        self._sizes = sizes
        self._sampled_hashes = sampled_hashes
        self._samples: dict[int, dict[str, RowSample]] = {}  # start of a window: samples by tensor

    def offer(self, tensor: str, window: Window, hash_: int) -> tuple[bool, int | None]:
        """Offer a row by its hash.

        Return whether the row is sampled, and the hash of the row that it evicts.
        """
        return self._of(window)[tensor].offer(hash_)

    def begin(self, window: Window) -> None:
        """Start with empty samples for a new window."""
        sizes = self._sizes(window.start)
        self._samples[window.start] = {name: RowSample(size) for name, size in sizes.items()}

    def merge(self, window: Window, pane: Window) -> list[TensorEviction]:
        """Merge the next pane's samples into a window; the caller must then `drop` the pane."""
        into, added = self._of(window), self._of(pane)
        whole = Window(window.start, pane.end)
        merged = {name: sample.merge(added[name]) for name, sample in into.items() if name in added}
        return [
            TensorEviction(name, whole, largest)
            for name, largest in merged.items()
            if largest is not None
        ]

    def drop(self, start: int) -> None:
        """Remove the samples of the window at `start`, which accepts no more events."""
        self._samples.pop(start, None)

    def _of(self, window: Window) -> dict[str, RowSample]:
        if window.start not in self._samples:
            self.begin(window)
            for name, sample in self._samples[window.start].items():
                for hash_ in self._sampled_hashes(window, name):
                    sample.offer(hash_)
        return self._samples[window.start]
