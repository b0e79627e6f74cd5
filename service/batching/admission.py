"""Admission control of one queue: refuse a request immediately if the queue is full."""

from math import ceil, inf

from service.errors import Overloaded

_WEIGHT = 0.2  # weight of the newest batch in the moving average


class Admission:
    """The number, bytes and expected wait of one model version's queued requests."""

    def __init__(
        self,
        name: str,
        max_requests: int,
        max_bytes: int,
        max_wait: float = inf,
        ahead: "Admission | None" = None,
    ) -> None:
        """A request is refused if its expected wait exceeds `max_wait` seconds.

        `ahead` is the admission of the next higher priority level, whose requests run first.
        """
        self._name = name
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._max_wait = max_wait
        self._ahead = ahead
        self.row_seconds = 0.0  # expected seconds per row
        self.requests = 0  # queued requests
        self.rows = 0  # queued rows
        self.size = 0  # queued bytes

    @property
    def wait(self) -> float:
        """The expected wait of a request that arrives now, in seconds."""
        if self._ahead is None:
            return self.rows * self.row_seconds
        return self._ahead.wait + self.rows * self._expected_row_seconds

    @property
    def _expected_row_seconds(self) -> float:
        """The `row_seconds` of the highest level, which is the only level that records batches."""
        return self.row_seconds if self._ahead is None else self._ahead._expected_row_seconds  # noqa: SLF001  # an instance of the same class

    def check_capacity(self) -> None:
        """Raise Overloaded if even the smallest request would be refused now."""
        if self.requests:
            self._check(0)

    def admit(self, size: int, rows: int) -> None:
        """Count a request of `size` bytes; raises Overloaded if the queue is full.

        An empty queue admits any size, because the size of a request is limited elsewhere.
        """
        if self.requests:
            self._check(size)
        self.enter(size, rows)

    def enter(self, size: int, rows: int) -> None:
        """Count a queued request without checking the limits."""
        self.requests += 1
        self.rows += rows
        self.size += size

    def leave(self, size: int, rows: int) -> None:
        """Subtract a request that left the queue."""
        self.requests -= 1
        self.rows -= rows
        self.size -= size

    def record_batch(self, rows: int, seconds: float) -> None:
        """Record that a batch of `rows` rows took `seconds`, including logging."""
        self.row_seconds += _WEIGHT * (seconds / rows - self.row_seconds)

    def _check(self, size: int) -> None:
        if self.requests >= self._max_requests or self.size + size > self._max_bytes:
            raise Overloaded(
                f"the queue of {self._name} is full: {self.requests} requests of {self.size} bytes "
                f"are queued (at most {self._max_requests} requests, {self._max_bytes} bytes); "
                "try again in a moment"
            )
        if self.wait > self._max_wait:
            raise Overloaded(
                f"the queue of {self._name} is too long: a request would wait about "
                f"{self.wait:.2f} s (at most {self._max_wait:g} s); try again in a moment",
                retry_after=max(1, ceil(self.wait)),
            )
