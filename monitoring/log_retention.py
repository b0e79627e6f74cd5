"""Tells the log's retention how far the monitor is: what it has not committed is never deleted."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from eventlog.log import Positions
from eventlog.retention import write_positions

_logger = logging.getLogger(__name__)
_EVERY = 5.0  # seconds


class PositionPublisher:
    """Writes committed positions to a file now and then."""

    def __init__(
        self,
        path: Path,
        positions: Callable[[], Positions],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`positions` must be committed whenever `now` or `between` is called."""
        self._path = path
        self._positions = positions
        self._clock = clock
        self._due = clock()

    def now(self) -> None:
        """Write the positions, on disk before this returns.

        A full disk only delays it: the log retains what older positions do not cover.
        """
        try:
            write_positions(self._path, self._positions())
        except OSError as error:
            _logger.warning("%s: %s; trying again", self._path, error.strerror)
        self._due = self._clock() + _EVERY

    def between(self, wait: Callable[[float], bool]) -> Callable[[float], bool]:
        """Return a `wait` for the consumer's loop, which calls it after every step."""

        def wait_and_announce(seconds: float) -> bool:
            stop = wait(seconds)
            if stop or self._clock() >= self._due:
                self.now()
            return stop

        return wait_and_announce
