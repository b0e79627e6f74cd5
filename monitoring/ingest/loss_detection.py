"""Says when a number that was passed over is lost: once nothing can be on its way any more."""

import time
from collections.abc import Callable

from eventlog.log import Position
from monitoring.ingest.ledger import give_up
from monitoring.windows.version_state import ConsumerState


class LossDetection:
    """Part of the consumer's step, at the moments when the log is read to its end."""

    def __init__(self, memory: ConsumerState, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, from anywhere."""
        self._memory = memory
        self._clock = clock
        self._marks: dict[str, tuple[Position, float]] = {}  # where a source stood, and when

    def due(self, patience: float) -> bool:
        """Whether `settle` has something to do."""
        return any(
            self._mark(source, ledger.top, patience) is not None
            for source, ledger in self._memory.ledgers.items()
            if any(not hole.lost for hole in ledger.holes)
        )

    def settle(self, patience: float) -> None:
        """Give up what has been missing for longer than `patience` seconds."""
        for source, ledger in self._memory.ledgers.items():
            if all(hole.lost for hole in ledger.holes):
                self._marks.pop(source, None)
                continue
            mark = self._mark(source, ledger.top, patience)
            if mark is not None:
                self._memory.ledgers[source] = give_up(ledger, mark)
                self._marks.pop(source, None)

    def _mark(self, source: str, top: Position, patience: float) -> Position | None:
        """Below which everything has had its time; None: wait on."""
        if not patience:
            return top
        mark, since = self._marks.setdefault(source, (top, self._clock()))
        return mark if self._clock() - since >= patience else None
