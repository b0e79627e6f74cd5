"""Merge the streams of one log by time of reception.

This decides the order in which the partitions of a topic are ingested. A stream that has more
records but none fetched yet holds up the others, so that none runs ahead of it.
"""

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from eventlog.errors import UnreadableEvent
from eventlog.log import Record

_Key = tuple[int, int, str]


def merge_key(record: Record) -> _Key:
    """Sort key: when the service received the event."""
    if isinstance(record.event, UnreadableEvent):
        return 0, record.sequence, record.source
    return record.event.received, record.sequence, record.source


class Merge:
    """Fetched records that `take` has not returned yet."""

    def __init__(self) -> None:
        self._unread: dict[str, deque[Record]] = {}

    def open(self, stream: str) -> None:
        """Open a stream; if it is open, drop its records: they are fetched again."""
        self._unread[stream] = deque()

    def close(self, stream: str) -> None:
        """Drop a stream and its records."""
        self._unread.pop(stream, None)

    def add(self, stream: str, records: Iterable[Record]) -> None:
        """Add fetched records in the order of the stream."""
        self._unread[stream].extend(records)

    def held(self, stream: str) -> int:
        """Return how many records of this stream are waiting."""
        return len(self._unread[stream])

    def take(self, limit: int, ended: set[str]) -> list[Record]:
        """Return the next records, at most `limit`.

        `ended`: streams with nothing more to fetch. While another stream is empty, the order of
        the next record is unknown, so nothing is returned.
        """
        if any(not unread and stream not in ended for stream, unread in self._unread.items()):
            return []
        heads = [
            (merge_key(unread[0]), stream) for stream, unread in self._unread.items() if unread
        ]
        heapify(heads)
        taken: list[Record] = []
        while heads and len(taken) < limit:
            _, stream = heads[0]
            unread = self._unread[stream]
            taken.append(unread.popleft())
            if unread:
                heapreplace(heads, (merge_key(unread[0]), stream))
            else:
                heappop(heads)
                if stream not in ended:
                    break
        return taken
