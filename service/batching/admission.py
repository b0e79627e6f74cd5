"""The admission of one queue: what waits is bounded, and what does not fit is refused at once."""

from math import ceil, inf

from service.errors import Overloaded

_WEIGHT = 0.2  # of the newest batch in what a row is thought to take


class Admission:
    """Counts what waits for one model version, in requests, bytes and expected time."""

    def __init__(
        self,
        name: str,
        max_requests: int,
        max_bytes: int,
        max_wait: float = inf,
        ahead: "Admission | None" = None,
    ) -> None:
        """`max_wait` is in seconds: whoever would wait longer is better off asking elsewhere.

        `ahead` is the admission of those who go first.
        """
        self._name = name
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._max_wait = max_wait
        self._ahead = ahead
        self.row_seconds = 0.0  # what a row is thought to take
        self.requests = 0
        self.rows = 0
        self.size = 0  # bytes

    @property
    def wait(self) -> float:
        """How long a request that comes now is likely to wait, in seconds."""
        if self._ahead is None:
            return self.rows * self.row_seconds
        return self._ahead.wait + self.rows * self._pace

    @property
    def _pace(self) -> float:
        return self.row_seconds if self._ahead is None else self._ahead._pace  # noqa: SLF001  # its own kind

    def check_capacity(self) -> None:
        """Raise Overloaded if even the smallest request would be refused now."""
        if self.requests:
            self._check(0)

    def admit(self, size: int, rows: int) -> None:
        """Let a request of `size` bytes wait; raises Overloaded when the queue is full.

        An empty queue takes a request of any size: what one request may hold is bounded before.
        """
        if self.requests:
            self._check(size)
        self.enter(size, rows)

    def enter(self, size: int, rows: int) -> None:
        """A request waits here, whatever the limits."""
        self.requests += 1
        self.rows += rows
        self.size += size

    def leave(self, size: int, rows: int) -> None:
        """A request left the queue, to run or because it was dropped."""
        self.requests -= 1
        self.rows -= rows
        self.size -= size

    def served(self, rows: int, seconds: float) -> None:
        """So many rows left the queue together and took so long, with all that belongs to it."""
        self.row_seconds += _WEIGHT * (seconds / rows - self.row_seconds)

    def _check(self, size: int) -> None:
        if self.requests >= self._max_requests or self.size + size > self._max_bytes:
            raise Overloaded(
                f"the queue of {self._name} is full: {self.requests} requests of {self.size} bytes "
                f"wait (at most {self._max_requests} requests, {self._max_bytes} bytes); "
                "try again in a moment"
            )
        if self.wait > self._max_wait:
            raise Overloaded(
                f"the queue of {self._name} is too long: a request would wait about "
                f"{self.wait:.2f} s (at most {self._max_wait:g} s); try again in a moment",
                retry_after=max(1, ceil(self.wait)),
            )
