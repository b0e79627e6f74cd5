"""Follow the clock of one source by its reception times, except wrong ones. Pure.

A clock that leaps forward has one of two causes: nothing was received for a while, or the clock is
wrong. What follows tells: a wrong clock returns. So a departed clock is believed once receptions
cover a minute from where it departed to. One that returns earlier is forgotten. The same holds for
a clock that is set back. Only the order of the source's own records decides.
"""

import msgspec

TOLERANCE = 300_000_000  # microseconds; a longer step is a departure
PATIENCE = 60_000_000  # microseconds that a departed clock covers before it is believed


class ReceptionClock(msgspec.Struct, frozen=True):
    """The time that a source has reached, and where its clock has departed to, in microseconds."""

    time: int = 0  # 0: before the first reception
    departed: int = 0  # the first reception there; 0: it has not departed

    def after(self, received: int) -> "ReceptionClock":
        """Return the clock after a reception."""
        if self.time == 0 or abs(received - self.time) <= TOLERANCE:
            return ReceptionClock(max(self.time, received))
        if not self.departed or received < self.departed - TOLERANCE:
            return ReceptionClock(self.time, received)
        if received < self.departed + PATIENCE:
            return self
        return ReceptionClock(self.departed).after(received)
