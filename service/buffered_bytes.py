"""One limit for the bytes of incomplete requests, over all transports of a worker."""

from service.errors import Overloaded


class BufferedBytes:
    """The number of bytes that a worker buffers, and their limit."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self._limit = limit
        self.size = 0

    def add(self, size: int) -> None:
        """Count bytes that will be buffered; over the limit, count nothing and raise Overloaded."""
        if self.size + size > self._limit:
            raise Overloaded(
                f"{self.size} bytes of incomplete requests are buffered; expected at most "
                f"{self._limit}; retry later"
            )
        self.size += size

    def release(self, size: int) -> None:
        """Subtract bytes that are no longer buffered."""
        self.size -= size
