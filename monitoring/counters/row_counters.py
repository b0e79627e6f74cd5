"""Count rows in their windows, thousands at a time, because a count per row would be slow."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from monitoring.counters.domain_reader import read_domain
from monitoring.counters.reference_domain import Domain
from monitoring.counters.window_counters import InputCounters, LabelCounters, Pair
from registry.manifest import Version

_logger = logging.getLogger(__name__)
_MOST_BUFFERED = 4_096  # rows


class CountedWindow(Protocol):
    """A window whose rows are counted."""

    start: int
    inputs: InputCounters
    answers: LabelCounters


class RowCounters:
    """A buffer of one version's rows, which `flush` counts in their windows."""

    def __init__(self, version: Version) -> None:
        """Count rows of `version`; their values are compared with its reference."""
        self._version = version
        self._regression = version.manifest.task == "regression"
        self._buffers: dict[int, _BufferedRows] = {}  # start of a window: its rows
        self._rows = 0  # number of buffered rows

    def add(self, window: CountedWindow, values: Sequence[Any]) -> None:
        """Buffer a row of a window, by its values in the manifest's order."""
        rows = self._buffers.get(window.start)
        (self._of(window) if rows is None else rows).values.append(values)
        self._rows += 1  # `_flush_if_full` inlined: a call for every event would cost time
        if self._rows >= _MOST_BUFFERED:
            self.flush()

    def add_summaries(self, window: CountedWindow, values: Sequence[Any]) -> None:
        """Buffer a row of which only the summaries are logged, in the manifest's order."""
        self._of(window).summaries.append(values)
        self._flush_if_full()

    def add_label(self, window: CountedWindow, label: object, prediction: object) -> None:
        """Buffer the label and the prediction of a row."""
        self._of(window).labels.append((label, prediction))
        self._flush_if_full()

    def flush(self) -> None:
        """Count every buffered row."""
        for rows in self._buffers.values():
            rows.count_labels(regression=self._regression)
            if self._domain is not None:
                rows.count_values(self._domain)
        self._buffers.clear()
        self._rows = 0

    def _of(self, window: CountedWindow) -> "_BufferedRows":
        rows = self._buffers.get(window.start)
        if rows is None:
            rows = self._buffers[window.start] = _BufferedRows(window)
        return rows

    def _flush_if_full(self) -> None:
        self._rows += 1
        if self._rows >= _MOST_BUFFERED:
            self.flush()

    @cached_property
    def _domain(self) -> Domain | None:
        """The reference's domain, or None if it cannot be read and values are not compared."""
        try:
            return read_domain(self._version)
        except (OSError, ValueError, KeyError) as error:
            version = self._version
            _logger.warning(
                "%s %s: missing and outside values are not counted: %s",
                version.model,
                version.number,
                error,
            )
            return None


class _BufferedRows:
    """The buffered rows of one window."""

    def __init__(self, window: CountedWindow) -> None:
        self._window = window
        self.values: list[Sequence[Any]] = []  # of rows with a complete payload
        self.summaries: list[Sequence[Any]] = []  # of rows with only summaries
        self.labels: list[Pair] = []

    def count_labels(self, *, regression: bool) -> None:
        counters = self._window.answers
        (counters.errors if regression else counters.confusion).add(self.labels)

    def count_values(self, domain: Domain) -> None:
        if self.values:
            self._window.inputs.add(domain.codes(self.values))
        if self.summaries:
            self._window.inputs.add_summaries(domain.codes_of_last(self.summaries))
