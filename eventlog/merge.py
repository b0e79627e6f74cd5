"""Merge the streams of one log by reception time.

The merge decides the order in which the partitions of a topic are ingested. If a stream has more
records but none is fetched yet, the other streams wait, because its next record may be earlier.
"""

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from eventlog.errors import UnreadableEvent
from eventlog.log import Record

_Key = tuple[int, int, str]


def merge_key(record: Record) -> _Key:
    """Return the sort key: when the service received the event. Unreadable events come first."""
    if isinstance(record.event, UnreadableEvent):
        return 0, record.sequence, record.source
    return record.event.received, record.sequence, record.source


class Merge:
    """Merge the fetched records of every open stream."""

    def __init__(self) -> None:
        self._unread: dict[str, deque[Record]] = {}

    def open(self, stream: str) -> None:
        """Open a stream. If it is open, discard its records, because they are fetched again."""
        self._unread[stream] = deque()

    def close(self, stream: str) -> None:
        """Close a stream and discard its records."""
        self._unread.pop(stream, None)

    def add(self, stream: str, records: Iterable[Record]) -> None:
        """Append fetched records, in the order of the stream."""
        self._unread[stream].extend(records)

    def held(self, stream: str) -> int:
        """Return the number of records of this stream that `take` has not returned."""
        return len(self._unread[stream])

    def take(self, limit: int, ended: set[str]) -> list[Record]:
        """Return the next records, at most `limit`.

        `ended` names the streams that have nothing more to fetch. If any other stream has no
        fetched record, the result is empty.
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
