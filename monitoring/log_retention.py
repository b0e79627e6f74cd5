"""Publish the monitor's positions, so that the log retains records that are not yet committed."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from eventlog.log import Positions
from eventlog.retention import write_positions

_logger = logging.getLogger(__name__)
_EVERY = 5.0  # seconds between two writes


class PositionPublisher:
    """Writes the committed positions to a file every few seconds."""

    def __init__(
        self,
        path: Path,
        positions: Callable[[], Positions],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`positions` must return committed positions whenever `publish` runs."""
        self._path = path
        self._positions = positions
        self._clock = clock
        self._due = clock()

    def publish(self) -> None:
        """Write the positions durably.

        If it fails, only a warning is logged: the log then retains more records than necessary.
        """
        try:
            write_positions(self._path, self._positions())
        except OSError as error:
            _logger.warning("%s: %s; trying again", self._path, error.strerror)
        self._due = self._clock() + _EVERY

    def with_publishing(self, wait: Callable[[float], bool]) -> Callable[[float], bool]:
        """Return a `wait` for the consumer's loop that also publishes every few seconds."""

        def wait_and_publish(seconds: float) -> bool:
            stop = wait(seconds)
            if stop or self._clock() >= self._due:
                self.publish()
            return stop

        return wait_and_publish
