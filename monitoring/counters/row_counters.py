"""Count the rows of windows many at a time, in columns."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from monitoring.counters.domain_reader import read_domain
from monitoring.counters.reference_domain import Domain
from monitoring.counters.window_counters import InputCounters, LabelCounters, Pair
from registry.manifest import Version

_logger = logging.getLogger(__name__)
_AT_ONCE = 4_096  # rows that are held back


class CountedWindow(Protocol):
    """A window whose rows are counted."""

    start: int
    inputs: InputCounters
    answers: LabelCounters


class RowCounters:
    """Holds rows of one version back until `flush` counts them in their windows together."""

    def __init__(self, version: Version) -> None:
        """Compare values with the reference of `version`."""
        self._version = version
        self._regression = version.manifest.task == "regression"
        self._held: dict[int, _HeldRows] = {}  # keyed by the start of their window
        self._rows = 0

    def add(self, window: CountedWindow, values: Sequence[Any]) -> None:
        """Count a row in its window."""
        rows = self._held.get(window.start)
        (self._of(window) if rows is None else rows).values.append(values)
        self._rows += 1  # as `_flush_many`, which a call for every event would cost
        if self._rows >= _AT_ONCE:
            self.flush()

    def add_summaries(self, window: CountedWindow, values: Sequence[Any]) -> None:
        """Count a row that has only summaries, in the manifest's order."""
        self._of(window).summaries.append(values)
        self._flush_many()

    def add_label(self, window: CountedWindow, label: object, prediction: object) -> None:
        """Count a labelled row."""
        self._of(window).labels.append((label, prediction))
        self._flush_many()

    def flush(self) -> None:
        """Count every row that is held back."""
        for rows in self._held.values():
            rows.count_labels(regression=self._regression)
            if self._domain is not None:
                rows.count_values(self._domain)
        self._held.clear()
        self._rows = 0

    def _of(self, window: CountedWindow) -> "_HeldRows":
        rows = self._held.get(window.start)
        if rows is None:
            rows = self._held[window.start] = _HeldRows(window)
        return rows

    def _flush_many(self) -> None:
        self._rows += 1
        if self._rows >= _AT_ONCE:
            self.flush()

    @cached_property
    def _domain(self) -> Domain | None:
        """None: values stay uncounted, which `WindowState.counted` shows."""
        try:
            return read_domain(self._version)
        except (OSError, ValueError, KeyError) as error:
            version = self._version
            _logger.warning("%s %s: no exact counts: %s", version.model, version.number, error)
            return None


class _HeldRows:
    """Rows of one window."""

    def __init__(self, window: CountedWindow) -> None:
        self._window = window
        self.values: list[Sequence[Any]] = []
        self.summaries: list[Sequence[Any]] = []
        self.labels: list[Pair] = []

    def count_labels(self, *, regression: bool) -> None:
        counters = self._window.answers
        (counters.errors if regression else counters.confusion).add(self.labels)

    def count_values(self, domain: Domain) -> None:
        if self.values:
            self._window.inputs.add(domain.codes(self.values))
        if self.summaries:
            self._window.inputs.add_summaries(domain.codes_of_last(self.summaries))
