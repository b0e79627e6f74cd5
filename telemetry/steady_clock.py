"""Wall-clock time that does not follow a clock which is wrong for seconds.

The steady clock of the system counts elapsed time. When the wall clock departs from it, time
continues by the steady clock until the wall clock has stayed where it is for a minute. Slow
corrections, as by NTP, are followed at once.
"""

import logging
import time
from collections.abc import Callable

from telemetry.clock import now_us

TOLERANCE = 5_000_000  # microseconds that the wall clock may depart from elapsed time at once
PATIENCE = 60_000_000  # microseconds after which a departed wall clock is believed

_logger = logging.getLogger(__name__)


def _elapsed() -> int:
    """Return microseconds since the boot, with the time that the machine was suspended."""
    return time.clock_gettime_ns(_STEADY) // 1_000


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former is Linux's


class SteadyClock:
    """Microseconds since the Unix epoch; calls must come from one thread."""

    def __init__(
        self,
        wall: Callable[[], int] = now_us,
        elapsed: Callable[[], int] = _elapsed,
        on_departure: Callable[[], None] = lambda: None,
    ) -> None:
        """`wall` and `elapsed` return microseconds, since the epoch and since any start.

        `on_departure` is called whenever the wall clock has departed.
        """
        self._on_departure = on_departure
        self._wall = wall
        self._elapsed = elapsed
        self._offset = wall() - elapsed()
        self._departed: int | None = None  # offset of the wall clock that is not believed yet
        self._since = 0  # elapsed time when it departed

    def __call__(self) -> int:
        """Return the time."""
        elapsed = self._elapsed()
        offset = self._wall() - elapsed
        if -TOLERANCE <= offset - self._offset <= TOLERANCE:
            if self._departed is not None:
                _logger.warning("the system's clock is back")
                self._departed = None
            self._offset = offset
            return elapsed + offset
        return elapsed + self._settle(offset, elapsed)

    def _settle(self, offset: int, elapsed: int) -> int:
        """Return the offset to use while the wall clock has departed."""
        departed = self._departed
        if departed is None or not -TOLERANCE <= offset - departed <= TOLERANCE:
            _logger.warning(
                "the system's clock moved by %+.0f seconds; events are stamped without the move "
                "unless it lasts for %d seconds",
                (offset - self._offset) / 1e6,
                PATIENCE // 1_000_000,
            )
            self._departed, self._since = offset, elapsed
            self._on_departure()
        elif elapsed - self._since >= PATIENCE:
            _logger.warning("events are stamped by the system's moved clock from now on")
            self._offset, self._departed = offset, None
        return self._offset
