"""Count missing events as lost once they can no longer arrive."""

import time
from collections.abc import Callable

from eventlog.log import Position
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.storage.journal import LedgerKey


class LossDetection:
    """Gives up missing events, in each consumer step that reaches the end of the log."""

    def __init__(self, state: ConsumerState, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds since an arbitrary start."""
        self._state = state
        self._clock = clock
        # Each incomplete ledger's highest position at some time, and that time by `clock`.
        self._marks: dict[LedgerKey, tuple[Position, float]] = {}

    def is_due(self, patience: float) -> bool:
        """Return whether `detect` would count events as lost."""
        return any(
            self._overdue(key, ledger.top, patience) is not None
            for key, ledger in self._state.incomplete_ledgers().items()
        )

    def detect(self, patience: float) -> None:
        """Count events as lost that have been missing for `patience` seconds or longer."""
        incomplete = self._state.incomplete_ledgers()
        self._marks = {key: mark for key, mark in self._marks.items() if key in incomplete}
        for key, ledger in incomplete.items():
            before = self._overdue(key, ledger.top, patience)
            if before is not None:
                self._state.give_up(key, before)
                self._marks.pop(key, None)

    def _overdue(self, key: LedgerKey, top: Position, patience: float) -> Position | None:
        """Return the position below which missing events are lost, or None if they may arrive."""
        if not patience:
            return top
        mark, since = self._marks.setdefault(key, (top, self._clock()))
        return mark if self._clock() - since >= patience else None
