"""Count a skipped sequence number as lost once it can no longer arrive."""

import time
from collections.abc import Callable

from eventlog.log import Position
from monitoring.ingest.consumer_state import ConsumerState


class LossDetection:
    """Part of the consumer's step, whenever the log is read to its end."""

    def __init__(self, state: ConsumerState, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds from an arbitrary start."""
        self._state = state
        self._clock = clock
        self._marks: dict[str, tuple[Position, float]] = {}  # where a source stood, and when

    def is_due(self, patience: float) -> bool:
        """Return whether `detect` would count anything as lost."""
        return any(
            self._overdue(ledger.source, ledger.top, patience) is not None
            for ledger in self._state.incomplete_ledgers()
        )

    def detect(self, patience: float) -> None:
        """Count as lost what has been missing for longer than `patience` seconds."""
        incomplete = self._state.incomplete_ledgers()
        waiting = {ledger.source for ledger in incomplete}
        self._marks = {source: mark for source, mark in self._marks.items() if source in waiting}
        for ledger in incomplete:
            before = self._overdue(ledger.source, ledger.top, patience)
            if before is not None:
                self._state.give_up(ledger.source, before)
                self._marks.pop(ledger.source, None)

    def _overdue(self, source: str, top: Position, patience: float) -> Position | None:
        """Return the position below which everything had its time; None: keep waiting."""
        if not patience:
            return top
        mark, since = self._marks.setdefault(source, (top, self._clock()))
        return mark if self._clock() - since >= patience else None
