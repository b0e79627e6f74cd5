"""One budget for the bytes of requests that have not arrived completely, whatever the transport."""

from service.errors import Overloaded


class BufferedBytes:
    """Count the bytes that a worker buffers; refuse those over its limit."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self._limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """Count bytes that are buffered; raises Overloaded, and counts none, over the limit."""
        if self.held + size > self._limit:
            raise Overloaded(
                f"{self.held} bytes of incomplete requests are buffered; expected at most "
                f"{self._limit}; retry later"
            )
        self.held += size

    def give(self, size: int) -> None:
        """Count bytes that are no longer buffered."""
        self.held -= size
