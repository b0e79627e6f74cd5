"""The door of one queue: what waits is bounded, and what does not fit is refused at once."""

from service.errors import Overloaded


class Admission:
    """Counts what waits for one model version, in requests and bytes."""

    def __init__(self, name: str, max_requests: int, max_bytes: int) -> None:
        self._name = name
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.size = 0  # bytes

    def admit(self, size: int) -> None:
        """Let a request of `size` bytes wait; raises Overloaded when the queue is full.

        An empty queue takes a request of any size: what one request may hold is bounded before.
        """
        full = self.requests >= self._max_requests or self.size + size > self._max_bytes
        if full and self.requests:
            raise Overloaded(
                f"the queue of {self._name} is full: {self.requests} requests of {self.size} bytes "
                f"wait (at most {self._max_requests} requests, {self._max_bytes} bytes); "
                "try again in a moment"
            )
        self.requests += 1
        self.size += size

    def leave(self, size: int) -> None:
        """A request left the queue, to run or because it was dropped."""
        self.requests -= 1
        self.size -= size
