"""Merge the streams of one log by reception time.

The merge decides the order in which partitions are ingested. While a stream has unfetched records
and none in the buffer, the others wait, because its next record may be earlier.
"""

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from eventlog.errors import UnreadableEvent
from eventlog.log import Record

_Key = tuple[int, int, str]


def merge_key(record: Record) -> _Key:
    """Return the sort key: the event's reception time. Unreadable events come first."""
    if isinstance(record.event, UnreadableEvent):
        return 0, record.sequence, record.source
    return record.event.received, record.sequence, record.source


class Merge:
    """Merge the fetched records of every open stream."""

    def __init__(self) -> None:
        self._unread: dict[str, deque[Record]] = {}

    def open(self, stream: str) -> None:
        """Open a stream; discard records buffered before, because they are fetched again."""
        self._unread[stream] = deque()

    def close(self, stream: str) -> None:
        """Close a stream and discard its records."""
        self._unread.pop(stream, None)

    def add(self, stream: str, records: Iterable[Record]) -> None:
        """Buffer fetched records of an open stream, in its order."""
        self._unread[stream].extend(records)

    def held(self, stream: str) -> int:
        """Return the number of buffered records of an open stream."""
        return len(self._unread[stream])

    def take(self, limit: int, ended: set[str]) -> list[Record]:
        """Return at most `limit` buffered records, in order.

        `ended` names the streams without unfetched records. If any other stream has no buffered
        record, the result is empty.
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
