"""Exponential back-off: the pauses between attempts that fail. Pure: no clock, no sleep."""


class Backoff:
    """Pauses that grow from `first` to `longest` while attempts fail.

    The unit is the caller's. One instance belongs to one loop of attempts.
    """

    def __init__(self, first: float, longest: float, *, factor: float = 2.0) -> None:
        """Begin with the first pause."""
        self._first = first
        self._longest = longest
        self._factor = factor
        self._failures = 0

    def next(self) -> float:
        """Return the pause after one more failure."""
        self._failures += 1
        return pause_after(self._failures, self._first, self._longest, factor=self._factor)

    def reset(self) -> None:
        """Begin again with the first pause, because an attempt succeeded."""
        self._failures = 0


def pause_after(failures: int, first: float, longest: float, *, factor: float = 2.0) -> float:
    """Return the pause after so many failures in a row, at least 1, none longer than `longest`."""
    pause = first
    for _ in range(failures - 1):
        if pause >= longest:
            break
        pause *= factor
    return min(pause, longest)
