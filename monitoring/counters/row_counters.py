"""Counts rows in their windows many at a time: what they hold is looked at in columns."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from monitoring.counters.domain_reader import read_domain
from monitoring.counters.reference_domain import Domain
from monitoring.counters.window_counters import Pair
from monitoring.windows.window_state import WindowState
from registry.manifest import Version

_logger = logging.getLogger(__name__)
_AT_ONCE = 4_096  # rows that may wait


class RowCounters:
    """The rows of one version, which wait here until they are counted together."""

    def __init__(self, version: Version) -> None:
        """Its reference says which values are odd."""
        self._version = version
        self._regression = version.manifest.task == "regression"
        self._waiting: dict[int, _Rows] = {}  # by the start of their window
        self._rows = 0

    def add(self, state: WindowState, values: Sequence[Any]) -> None:
        """Count a row in its window; `settle` brings it into the counts."""
        self._of(state).values.append(values)
        self._settle_many()

    def add_known(self, state: WindowState, odd: bytes) -> None:
        """The same of a row that was looked at before (`oddities`)."""
        self._of(state).odd.append(odd)
        self._settle_many()

    def compare(self, state: WindowState, truth: object, told: object) -> None:
        """Count a row whose truth is known, once more."""
        self._of(state).answers.append((truth, told))
        self._settle_many()

    def oddities(self, rows: Sequence[Sequence[Any]]) -> list[bytes] | None:
        """What is odd about each value of the rows, a byte each, nothing where none is.

        None where the reference cannot be read.
        """
        if self._domain is None:
            return None
        return [bytes(row) if row.any() else b"" for row in self._domain.odd(rows)]

    def settle(self) -> None:
        """Bring everything that waits into the windows' counts."""
        for rows in self._waiting.values():
            rows.compare(regression=self._regression)
            if self._domain is not None:
                rows.count(self._domain)
        self._waiting.clear()
        self._rows = 0

    def _of(self, state: WindowState) -> "_Rows":
        rows = self._waiting.get(state.start)
        if rows is None:
            rows = self._waiting[state.start] = _Rows(state)
        return rows

    def _settle_many(self) -> None:
        self._rows += 1
        if self._rows >= _AT_ONCE:
            self.settle()

    @cached_property
    def _domain(self) -> Domain | None:
        """None: rows stay uncounted, and the window knows (`WindowState.counted`)."""
        try:
            return read_domain(self._version)
        except (OSError, ValueError, KeyError) as error:
            version = self._version
            _logger.warning("%s %s: no exact counts: %s", version.model, version.number, error)
            return None


class _Rows:
    """Those of one window."""

    def __init__(self, state: WindowState) -> None:
        self._state = state
        self.values: list[Sequence[Any]] = []
        self.odd: list[bytes] = []
        self.answers: list[Pair] = []

    def compare(self, *, regression: bool) -> None:
        tally = self._state.answers
        (tally.errors if regression else tally.confusion).add(self.answers)

    def count(self, domain: Domain) -> None:
        if self.values:
            self._state.inputs.add(domain.odd(self.values))
        if self.odd:
            told = np.frombuffer(b"".join(self.odd), np.uint8).reshape(-1, domain.width)
            self._state.inputs.add(told, ordinary=len(self.odd) - len(told))
