"""Several streams of one log, merged by the time of reception.

Everything that decides in which order the partitions of a topic are taken in lives here. A stream
that has more to give, but nothing here yet, holds up the others: nobody may run ahead of it.
"""

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from eventlog.errors import UnreadableEvent
from eventlog.log import Record

_Key = tuple[int, int, str]


def reception(record: Record) -> _Key:
    """What records are merged by: when the service received what they speak of."""
    if isinstance(record.event, UnreadableEvent):
        return 0, record.sequence, record.source
    return record.event.received, record.sequence, record.source


class Merge:
    """Holds what was fetched and is not handed out yet."""

    def __init__(self) -> None:
        self._unread: dict[str, deque[Record]] = {}

    def open(self, stream: str) -> None:
        """Begin a stream, or begin it anew: what was held of it will be fetched again."""
        self._unread[stream] = deque()

    def close(self, stream: str) -> None:
        """Forget a stream."""
        self._unread.pop(stream, None)

    def add(self, stream: str, records: Iterable[Record]) -> None:
        """Put in what was fetched, in the order of the stream."""
        self._unread[stream].extend(records)

    def held(self, stream: str) -> int:
        """How many records of this stream are not handed out yet."""
        return len(self._unread[stream])

    def take(self, limit: int, ended: set[str]) -> list[Record]:
        """The next records, at most `limit`; `ended` are the streams with nothing more to fetch."""
        if any(not unread and stream not in ended for stream, unread in self._unread.items()):
            return []
        heads = [
            (reception(unread[0]), stream) for stream, unread in self._unread.items() if unread
        ]
        heapify(heads)
        taken: list[Record] = []
        while heads and len(taken) < limit:
            _, stream = heads[0]
            unread = self._unread[stream]
            taken.append(unread.popleft())
            if unread:
                heapreplace(heads, (reception(unread[0]), stream))
            else:
                heappop(heads)
                if stream not in ended:
                    break
        return taken
