"""The clock of the database server, which determines the times of all machines' changes.

If machines used their own clocks, rows could have times out of order, and machines could disagree
whether an approval has expired.
"""

import logging
import time
from collections.abc import Callable

_TOLERANCE_NS = 1_000_000_000  # smaller differences are not corrected
_VALID_S = 60.0  # seconds between measurements of the difference

_logger = logging.getLogger(__name__)


class ServerClock:
    """This machine's clock, corrected by its measured difference from the server's clock."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._offset_ns = 0
        self._measured_at: float | None = None

    @property
    def due(self) -> bool:
        """Return whether the difference must be measured."""
        measured = self._measured_at
        return measured is None or time.monotonic() >= measured + _VALID_S

    def measure(self, read_us: Callable[[], int]) -> None:
        """Measure the difference; `read_us` queries the server's time in microseconds."""
        began = local_ns()
        server_ns = read_us() * 1_000
        ended = local_ns()
        offset, uncertain = server_ns - (began + ended) // 2, (ended - began) // 2
        is_wrong = abs(offset) > _TOLERANCE_NS + uncertain
        if is_wrong and not self._offset_ns:
            _logger.warning(
                "this machine's clock is %.0f s %s the clock of the %s: changes get the "
                "database's time; set this machine's clock",
                abs(offset) / 1e9, "behind" if offset > 0 else "ahead of", self._server,
            )  # fmt: skip
        self._offset_ns = offset if is_wrong else 0
        self._measured_at = time.monotonic()

    def time_ns(self) -> int:
        """Return the server's time in nanoseconds since the epoch."""
        return local_ns() + self._offset_ns


def local_ns() -> int:
    """Return the time of this machine's clock in nanoseconds since the epoch."""
    return time.time_ns()
