"""What all monitors have read, as one log: a `Reader` of eventlog/log.py for the one that leads.

Streams are merged as one monitor would that reads them all, so it finds the same.
"""

from collections import deque
from collections.abc import Sequence

from eventlog.log import Gap, Positions, Record
from eventlog.merge import Merge
from monitoring.sharing.entries import record
from monitoring.sharing.handed import SharedChunks, Stream

_AT_ONCE = 4  # chunks of a stream read together


class SharedChunkReader:
    """Reads the chunks of every stream, behind those that are taken in."""

    def __init__(self, handed: SharedChunks, positions: Positions, patience: float) -> None:
        """`positions` are those of the owner: what lies before them is not handed out again."""
        self.drained = False
        self.patience = patience
        self._handed = handed
        self._positions = positions
        self._merge = Merge()
        self._loaded: dict[str, int] = {}  # the last chunk of each stream that is here
        self._unfinished: dict[str, deque[tuple[int, int]]] = {}  # number, records of it left
        self._gaps: list[Gap] = []
        self._done: dict[str, int] = {}  # chunks whose records were all handed out

    def poll(self, limit: int) -> Sequence[Record]:
        """What is new, at most `limit` records."""
        streams = self._handed.streams()
        for stream in streams:
            self._load(stream, limit)
        ended = {s.name for s in streams if s.ended and self._loaded[s.name] == s.chunks}
        records = self._merge.take(limit, ended)
        for one in records:
            self._count(one.stream)
        self.drained = bool(streams) and all(
            s.name in ended and not self._merge.held(s.name) for s in streams
        )
        return records

    def gaps(self) -> Sequence[Gap]:
        """What had to be passed over since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def commit(self) -> None:
        """Delete the chunks that the step has ingested; part of its transaction."""
        self._handed.taken(self._done)
        self._done = {}

    def close(self) -> None:
        """Nothing to release."""

    def _load(self, stream: Stream, limit: int) -> None:
        name = stream.name
        if name not in self._loaded:
            self._loaded[name] = stream.taken
            self._unfinished[name] = deque()
            self._merge.open(name)
        while self._loaded[name] < stream.chunks and self._merge.held(name) < limit:
            for number, chunk in self._handed.chunks(name, self._loaded[name], _AT_ONCE):
                if chunk.gap is not None:
                    if self._merge.held(name):
                        return  # what lies before the gap comes first
                    self._gaps.append(chunk.gap)
                    self._done[name] = number
                    self._loaded[name] = number
                    return  # and what lies behind it, once it is passed
                self._add(name, number, [record(chunk, entry) for entry in chunk.entries])

    def _add(self, name: str, number: int, records: Sequence[Record]) -> None:
        at = self._positions.get(name)
        fresh = [
            one
            for one in records
            if at is None or at.epoch != one.after.epoch or at.sequence < one.after.sequence
        ]
        self._loaded[name] = number
        if fresh:
            self._unfinished[name].append((number, len(fresh)))
            self._merge.add(name, fresh)
        elif not self._unfinished[name]:
            self._done[name] = number

    def _count(self, name: str) -> None:
        """One record of this stream was handed out."""
        number, left = self._unfinished[name][0]
        if left > 1:
            self._unfinished[name][0] = number, left - 1
        else:
            self._unfinished[name].popleft()
            self._done[name] = number
