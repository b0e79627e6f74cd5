"""Exponential back-off: pauses between failed attempts. Pure: no clock, no sleep."""


class Backoff:
    """Pauses that grow from `first` to `longest` while attempts fail.

    The caller chooses the unit. Each retry loop needs a separate instance.
    """

    def __init__(self, first: float, longest: float, *, factor: float = 2.0) -> None:
        """Begin with the first pause."""
        self._first = first
        self._longest = longest
        self._factor = factor
        self._failures = 0

    def next(self) -> float:
        """Count a failure and return the pause before the next attempt."""
        self._failures += 1
        return pause_after(self._failures, self._first, self._longest, factor=self._factor)

    def reset(self) -> None:
        """Restart with the first pause, because an attempt succeeded."""
        self._failures = 0


def pause_after(failures: int, first: float, longest: float, *, factor: float = 2.0) -> float:
    """Return the pause after `failures` (at least 1) consecutive failures, at most `longest`."""
    pause = first
    for _ in range(failures - 1):
        if pause >= longest:
            break
        pause *= factor
    return min(pause, longest)
