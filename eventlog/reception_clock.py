"""Derive the time of one source from its reception times, ignoring a wrong clock. Pure.

A jump of the reception time has two possible causes: no event was received for a while, or the
clock is wrong. A wrong clock returns to the right time. A jump is therefore accepted only after
receptions have covered a minute at the new time. If the clock returns earlier, the jump is ignored.
Jumps backward are treated in the same way. Only the order of the source's own records matters.
"""

import msgspec

TOLERANCE = 300_000_000  # microseconds; a longer step is a jump
PATIENCE = 60_000_000  # microseconds that receptions must cover before a jump is accepted


class ReceptionClock(msgspec.Struct, frozen=True):
    """The time of a source, in microseconds."""

    time: int = 0  # latest accepted reception time; 0 before the first reception
    departed: int = 0  # first reception time after a jump that is not accepted yet; 0 if none

    def after(self, received: int) -> "ReceptionClock":
        """Return the clock after a reception."""
        if self.time == 0 or abs(received - self.time) <= TOLERANCE:
            return ReceptionClock(max(self.time, received))
        if not self.departed or received < self.departed - TOLERANCE:
            return ReceptionClock(self.time, received)
        if received < self.departed + PATIENCE:
            return self
        return ReceptionClock(self.departed).after(received)
