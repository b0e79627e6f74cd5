"""Wall-clock time that ignores a system clock which is wrong for less than a minute.

The monotonic clock counts elapsed time. If the wall clock jumps, time continues by the monotonic
clock until the wall clock has kept its new offset for a minute. Small corrections, such as those
of NTP, apply immediately.
"""

import logging
import time
from collections.abc import Callable

from telemetry.clock import now_us

TOLERANCE = 5_000_000  # microseconds; a larger change of the wall clock's offset is a jump
PATIENCE = 60_000_000  # microseconds after which the wall clock's new offset is accepted

_logger = logging.getLogger(__name__)


def _elapsed() -> int:
    """Return microseconds since the boot, including time during which the machine was suspended."""
    return time.clock_gettime_ns(_STEADY) // 1_000


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # CLOCK_BOOTTIME exists on Linux


class SteadyClock:
    """Microseconds since the Unix epoch; calls must come from one thread."""

    def __init__(
        self,
        wall: Callable[[], int] = now_us,
        elapsed: Callable[[], int] = _elapsed,
        on_departure: Callable[[], None] = lambda: None,
    ) -> None:
        """Both clocks return microseconds: `wall` since the epoch, `elapsed` since any start.

        `on_departure` is called whenever the wall clock has jumped.
        """
        self._on_departure = on_departure
        self._wall = wall
        self._elapsed = elapsed
        self._offset = wall() - elapsed()
        self._departed: int | None = None  # wall clock's offset after a jump, until it is accepted
        self._since = 0  # elapsed time at the jump

    def __call__(self) -> int:
        """Return the current time."""
        elapsed = self._elapsed()
        offset = self._wall() - elapsed
        if -TOLERANCE <= offset - self._offset <= TOLERANCE:
            if self._departed is not None:
                _logger.warning("the system's clock is back at its former time")
                self._departed = None
            self._offset = offset
            return elapsed + offset
        return elapsed + self._settle(offset, elapsed)

    def _settle(self, offset: int, elapsed: int) -> int:
        """Return the offset to use after the wall clock has jumped."""
        departed = self._departed
        if departed is None or not -TOLERANCE <= offset - departed <= TOLERANCE:
            _logger.warning(
                "the system's clock jumped by %+.0f seconds; event times ignore the jump unless it "
                "lasts for %d seconds",
                (offset - self._offset) / 1e6,
                PATIENCE // 1_000_000,
            )
            self._departed, self._since = offset, elapsed
            self._on_departure()
        elif elapsed - self._since >= PATIENCE:
            _logger.warning("event times follow the system's clock again, after its jump")
            self._offset, self._departed = offset, None
        return self._offset
