"""Merge the streams of one log by reception time.

The merge determines the order in which partitions are ingested. If a stream's buffer is empty but
the stream has unfetched records, the other streams wait, because its next record may be earlier.

A record with the time of a wrong clock would block its stream until the other streams reach that
time. If later records of the same source show that the clock was wrong, the record is therefore
ordered by the source's previous time.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice

from eventlog.errors import UnreadableEvent
from eventlog.log import Record
from eventlog.reception_clock import TOLERANCE, ReceptionClock

_Key = tuple[int, int, str]
_AHEAD = 2_000  # later records of a stream that can show that a clock was wrong
_START = ReceptionClock()


class StreamOrder:
    """The sort keys of one stream's records: reception times, corrected for wrong clocks."""

    def __init__(self) -> None:
        self._clocks: dict[str, ReceptionClock] = {}  # keyed by source
        self._verdicts: dict[str, tuple[int, bool]] = {}  # source -> (departed time, is wrong)

    def take(self, record: Record) -> None:
        """Record that the stream's next record was taken."""
        if isinstance(record.event, UnreadableEvent):
            return
        clock = self._clocks.get(record.source, _START)
        if record.event.received != clock.time or clock.departed:
            self._clocks[record.source] = clock.after(record.event.received)

    def skip_to(self, record: Record) -> None:
        """Record that all records up to this one were taken in the order of the stream."""
        if not isinstance(record.event, UnreadableEvent):
            self._clocks[record.source] = ReceptionClock(record.event.received)

    def key(self, unread: Sequence[Record], index: int = 0) -> _Key:
        """Return the sort key of `unread[index]`; unreadable records sort first."""
        record = unread[index]
        if isinstance(record.event, UnreadableEvent):
            return 0, record.sequence, record.source
        received = record.event.received
        clock = self._clocks.get(record.source, _START)
        if clock.time and received > clock.time + TOLERANCE:
            following = islice(unread, index + 1, index + 1 + _AHEAD)
            if self._is_wrong(record.source, clock.after(received), following):
                received = clock.time
        return received, record.sequence, record.source

    def _is_wrong(self, source: str, clock: ReceptionClock, following: Iterable[Record]) -> bool:
        """Return whether later records prove that the jump of a clock was wrong."""
        departed, wrong = self._verdicts.get(source, (0, False))
        if not clock.departed or departed == clock.departed:
            return bool(clock.departed) and wrong
        wrong_now = _returns(source, clock, following)
        if wrong_now is not None:
            self._verdicts[source] = clock.departed, wrong_now
        return bool(wrong_now)


def _returns(source: str, clock: ReceptionClock, following: Iterable[Record]) -> bool | None:
    """Return whether a clock that jumped returns, or None if too few records follow.

    If the clock has not returned within `_AHEAD` records, return True. This affects only the order.
    """
    count = 0
    for count, record in enumerate(following, 1):  # noqa: B007  # counted to the end
        if record.source != source or isinstance(record.event, UnreadableEvent):
            continue
        after = clock.after(record.event.received)
        if after.departed != clock.departed:
            return after.time < clock.departed
    return True if count == _AHEAD else None


def merged(
    unread: Mapping[str, Sequence[Record]], orders: Mapping[str, StreamOrder], most: int
) -> list[Record]:
    """Return at most `most` first records of the streams, in order."""
    if len(unread) == 1:  # with one worker, the log's order is the result
        ((stream, records),) = unread.items()
        for record in (chosen := list(records[:most]))[-1:]:
            orders[stream].skip_to(record)
        return chosen
    heads = [(orders[stream].key(records), stream, 0) for stream, records in unread.items()]
    heapify(heads)
    chosen = []
    while heads and len(chosen) < most:
        _, stream, index = heads[0]
        records, order = unread[stream], orders[stream]
        chosen.append(records[index])
        order.take(records[index])
        if index + 1 < len(records):
            heapreplace(heads, (order.key(records, index + 1), stream, index + 1))
        else:
            heappop(heads)
    return chosen


class Merge:
    """Merge the fetched records of every open stream."""

    def __init__(self) -> None:
        self._unread: dict[str, deque[Record]] = {}
        self._orders: dict[str, StreamOrder] = {}

    def open(self, stream: str) -> None:
        """Open a stream; discard its buffered records, because they are fetched again."""
        self._unread[stream] = deque()
        self._orders[stream] = StreamOrder()

    def close(self, stream: str) -> None:
        """Close a stream and discard its records."""
        self._unread.pop(stream, None)
        self._orders.pop(stream, None)

    def add(self, stream: str, records: Iterable[Record]) -> None:
        """Buffer fetched records of an open stream, in the stream's order."""
        self._unread[stream].extend(records)

    def buffered(self, stream: str) -> int:
        """Return the number of buffered records of an open stream."""
        return len(self._unread[stream])

    def take(self, limit: int, ended: set[str]) -> list[Record]:
        """Return at most `limit` buffered records, in order.

        `ended` contains the streams without unfetched records. If any other stream has an empty
        buffer, the result is empty.
        """
        if any(not unread and stream not in ended for stream, unread in self._unread.items()):
            return []
        heads = [
            (self._orders[stream].key(unread), stream)
            for stream, unread in self._unread.items()
            if unread
        ]
        heapify(heads)
        chosen: list[Record] = []
        while heads and len(chosen) < limit:
            _, stream = heads[0]
            unread, order = self._unread[stream], self._orders[stream]
            chosen.append(unread.popleft())
            order.take(chosen[-1])
            if unread:
                heapreplace(heads, (order.key(unread), stream))
            else:
                heappop(heads)
                if stream not in ended:
                    break
        return chosen
