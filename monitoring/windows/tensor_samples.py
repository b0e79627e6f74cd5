"""Sample rows of the tensors of each window: those with the smallest hashes. Pure.

Only rows whose payload was logged are offered, so these samples are smaller than the window's.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from monitoring.results import Window
from monitoring.windows.row_sample import RowSample


class TensorEviction(msgspec.Struct, frozen=True):
    """Rows of a window's tensor whose hash is larger leave the sample: it is full."""

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
        """`sizes`: rows of each tensor, in a window that begins at a time.

        `sampled_hashes` reads those of a stored sample.
        """
        self._sizes = sizes
        self._sampled_hashes = sampled_hashes
        self._samples: dict[int, dict[str, RowSample]] = {}  # keyed by start of the window

    def offer(self, tensor: str, window: Window, number: int) -> tuple[bool, int | None]:
        """Offer a row by its hash: whether it is sampled, and the hash of the row it evicts."""
        return self._of(window)[tensor].offer(number)

    def begin(self, window: Window) -> None:
        """Begin a window that has nothing stored yet."""
        sizes = self._sizes(window.start)
        self._samples[window.start] = {name: RowSample(size) for name, size in sizes.items()}

    def merge(self, window: Window, pane: Window) -> list[TensorEviction]:
        """Merge the samples of the next pane into a window; `drop` the pane afterwards."""
        into, added = self._of(window), self._of(pane)
        whole = Window(window.start, pane.end)
        merged = {name: sample.merge(added[name]) for name, sample in into.items() if name in added}
        return [
            TensorEviction(name, whole, largest)
            for name, largest in merged.items()
            if largest is not None
        ]

    def drop(self, start: int) -> None:
        """Forget the window that begins here: it takes in no more events."""
        self._samples.pop(start, None)

    def _of(self, window: Window) -> dict[str, RowSample]:
        if window.start not in self._samples:
            self.begin(window)
            for name, sample in self._samples[window.start].items():
                for number in self._sampled_hashes(window, name):
                    sample.offer(number)
        return self._samples[window.start]
